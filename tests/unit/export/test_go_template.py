"""A translated chat template writes what the trained one does; one that cannot be translated is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
import pytest

from luthier.errors import ModelError
from luthier.export.go_template import build_go_template, render_go

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "<|im_start|>assistant\n"
)
GEMMA = (
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else 'user' }}\n{{ m['content'] }}"
    "<end_of_turn>\n{% endfor %}<start_of_turn>model\n"
)
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}<s>You are kind.</s>{% endif %}"
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}<assistant>"
)
LAST_USER_GETS_SYSTEM = (
    "{% set s = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}"
    "{% for m in messages %}{% if m['role'] == 'user' %}[I]{{ s if loop.last }}{{ m['content'] }}[/I]"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}{% endif %}{% endfor %}"
)
TALK = [
    {"role": "user", "content": "One {{ .Content }} %"},
    {"role": "assistant", "content": "Two\n"},
    {"role": "user", "content": ""},
]


def renderer(text: str) -> Any:
    template = jinja2.Environment(keep_trailing_newline=True).from_string(text)
    return lambda messages: template.render(messages=messages)


@pytest.mark.parametrize("text", [CHATML, DEFAULT_SYSTEM])
def test_with_system_messages(text: str) -> None:
    render = renderer(text)
    go = build_go_template(render, has_system=True)
    for messages in (TALK, [{"role": "system", "content": "Be."}, *TALK]):
        assert render_go(go, messages) == render(messages)


def test_without_system_messages() -> None:
    render = renderer(GEMMA)
    assert render_go(build_go_template(render, has_system=False), TALK) == render(TALK)


def test_by_hand() -> None:
    go = build_go_template(renderer(GEMMA), has_system=False)
    expected = "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"  #
    assert render_go(go, [{"role": "user", "content": "Hi"}]) == expected


@pytest.mark.parametrize(
    "text",
    [
        LAST_USER_GETS_SYSTEM,
        "{% for m in messages %}{{ loop.index }}{{ m['content'] }}{% endfor %}",
        "{{ messages[-1]['content'] }}",
        CHATML + "{{ '{{' }}",
    ],
)
def test_what_has_no_translation_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        build_go_template(renderer(text), has_system=True)


def test_real_templates(shared_data: Path) -> None:
    """Of the families that Ollama's users have."""
    from transformers.utils.chat_template_utils import render_jinja_template

    def render_with(text: str) -> Any:
        def render(messages: Any) -> str:
            (found,), _ = render_jinja_template(
                conversations=[list(messages)],
                chat_template=text,
                add_generation_prompt=True,
                bos_token="",
                eos_token="</s>",
            )
            return found

        return render

    folder = shared_data / "templates"
    for stem, has_system in [("Qwen2.5-7B", True), ("Llama-3.1-8B", True), ("Phi-3.5", True), ("gemma-2-2b", False)]:
        path = next(folder.rglob(f"*{stem}*.jinja"))
        render = render_with(path.read_text(encoding="utf-8"))
        talk = [{**m, "content": m["content"].strip() or "x"} for m in TALK]
        assert render_go(build_go_template(render, has_system=has_system), talk) == render(talk), stem
