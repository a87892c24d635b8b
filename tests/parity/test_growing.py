"""All beginnings from one run of a chat template, against `apply_chat_template` on each of them: every template at hand."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import trl
from transformers import PreTrainedTokenizerBase

from luthier.data.growing import GrowingTemplate
from luthier.data.rendering import Renderer, pin_date
from luthier.data.run_template import TEMPLATE_FAULTS, TemplateProgram
from luthier.types import Message
from tests.conftest import SHARED_DATA
from tests.tiny import tiny_tokenizer

TEMPLATES = [
    *sorted((SHARED_DATA / "templates" / "jinja").glob("*.jinja")),
    *sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")),
]
GROW = (
    "Qwen-Qwen2.5-7B-Instruct",
    "meta-llama-Llama-3.1-8B-Instruct",
    "google-gemma-2-2b-it",
    "qwen2_5",
    "phi3",
    "llama3",
)
"""Some that are known to grow by appending: without these, nothing of this would be tested."""
CALL = {"type": "function", "function": {"name": "look", "arguments": {"city": "Paris"}}, "id": "call00000"}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look", "parameters": {}}}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = "<s>"
    return tokenizer


def conversations() -> list[tuple[list[dict[str, Any]], list[dict[str, Any]] | None]]:
    """Alternating, with system message, tools, thinking, white space, and with roles in any order."""
    rng = random.Random(0)

    def said(role: str) -> dict[str, Any]:
        text = rng.choice(["Hello", " Hi there \n", "", "<think>\nhm\n</think>\n\nYes", "a\n\nb"])
        message: dict[str, Any] = {"role": role, "content": text}
        if role == "assistant" and rng.random() < 0.3:
            message["reasoning_content"] = message["thinking"] = "so it is"
        if role == "assistant" and rng.random() < 0.2:
            message["tool_calls"] = [CALL]
        return message

    made = []
    for length in (1, 2, 3, 4, 6, 7):
        turns = [said(("user", "assistant")[i % 2]) for i in range(length)]
        made += [(turns, None), ([said("system"), *turns], None), ([said("system"), *turns], [TOOL])]
        made.append(([said(rng.choice(["user", "assistant", "tool", "system"])) for _ in range(length)], [TOOL]))
    asked = {"role": "user", "content": "Weather?"}
    called = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    result = {"role": "tool", "content": "Sunny", "tool_call_id": "call00000"}
    made.append(([asked, called, result, said("assistant"), asked, called, result, result, said("assistant")], [TOOL]))
    return made


def applied(tokenizer: Any, template: str, messages: Any, tools: Any, generation_prompt: bool) -> str | None:
    try:
        return tokenizer.apply_chat_template(
            messages, tools=tools, chat_template=template, add_generation_prompt=generation_prompt, tokenize=False
        )
    except TEMPLATE_FAULTS:
        return None


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the development data are not beside the repository")
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_beginnings_are_those_of_apply_chat_template(tokenizer: PreTrainedTokenizerBase, path: Path):
    template = pin_date(path.read_text())
    variables = dict(tokenizer.special_tokens_map)
    growing = GrowingTemplate.prove(template, variables)
    assert growing is not None or path.stem not in GROW
    num_known = 0
    for messages, tools in conversations() if growing is not None else []:
        try:
            grown = growing.grow(messages, tools)
        except TEMPLATE_FAULTS:
            continue
        if grown is None:
            continue
        whole = applied(tokenizer, template, messages, tools, False)
        assert grown.text + growing.end(generation_prompt=False) == whole
        for number, length in enumerate(grown.lengths):
            if length < 0:
                continue
            num_known += 1
            for generation_prompt in (False, True):
                expected = applied(tokenizer, template, messages[:number], tools, generation_prompt)
                assert grown.text[:length] + growing.end(generation_prompt=generation_prompt) == expected
    assert num_known > 9 or path.stem not in GROW


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the development data are not beside the repository")
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_running_a_compiled_template_is_applying_it(tokenizer: PreTrainedTokenizerBase, path: Path):
    template = pin_date(path.read_text())
    program = TemplateProgram.compile(template, dict(tokenizer.special_tokens_map))
    assert program is not None
    for messages, tools in conversations():
        for generation_prompt in (False, True):
            try:
                ran = program.render(messages, tools, generation_prompt)
            except TEMPLATE_FAULTS:
                ran = None
            assert ran == applied(tokenizer, template, messages, tools, generation_prompt)


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{{ m.content }}{% if not loop.last %},{% endif %}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ loop.nextitem is defined }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ loop.revindex }}{% endfor %}",
        "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}",
        "{{ messages[-1].content }}{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% set n = namespace(last='') %}{% for m in messages %}{% set n.last = m.role %}{{ m.content }}{% endfor %}{{ n.last }}",
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{% if add_generation_prompt %}!{% endif %}{% endfor %}",
        "{% for m in messages %}{{ m.role }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% if m.content == 'stop' %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
        "{% for m in messages[1:] %}{{ messages[loop.index0].content }}{{ m.content }}{% endfor %}",
        "{% set rest = messages[1:] %}{% for m in rest %}{{ rest[loop.index0 + 1] is defined }}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{% endfor %}{{ messages[0].content }}",
        "{% for m in messages %}{{ m.content }}{% else %}none{% endfor %}",
        "{% for m in messages | reverse %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ (loop | attr('last')) }}{% endfor %}",
        "{% if messages %}{{ messages[0].role }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}.",
        "{% for m in messages %}{{ m.content }}{{ m in messages }}{% endfor %}",
        "{% if messages[1] is defined %}two{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
    ],
)
def test_a_template_that_looks_ahead_is_caught(tokenizer: PreTrainedTokenizerBase, template: str):
    """Whatever is claimed to be known is right; how much is known is not asked."""
    messages = [{"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "stop"), ("user", "c"))]
    growing = GrowingTemplate.prove(template, {})
    grown = growing.grow(messages, None) if growing is not None else None
    if growing is None or grown is None:
        return
    assert grown.text + growing.end(generation_prompt=False) == applied(tokenizer, template, messages, None, False)
    for number, length in enumerate(grown.lengths):
        if length >= 0:
            expected = applied(tokenizer, template, messages[:number], None, False)
            assert grown.text[:length] + growing.end(generation_prompt=False) == expected


def test_a_long_conversation_takes_one_run(tokenizer: PreTrainedTokenizerBase):
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    renderer = Renderer(tokenizer, template, {}, None)
    messages = [Message("user" if i % 2 == 0 else "assistant", f"turn {i}") for i in range(20_000)]
    grown = renderer.grow(renderer.prepare(messages))
    assert grown is not None
    assert all(length > 0 for length in grown.lengths[1:])
    assert grown.lengths[3] == len("<user>turn 0</s><assistant>turn 1</s><user>turn 2</s>")
