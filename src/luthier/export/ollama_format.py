"""`--to ollama`: a GGUF file and a Modelfile that asks it as it was trained to be asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jinja2.exceptions import TemplateError

from luthier.errors import DataError, InputError, ModelError
from luthier.export.companions import full_template
from luthier.export.format import Advance, FormatPlan, Usage, Verified
from luthier.export.gguf.vocabulary import begins_with_bos
from luthier.export.gguf_format import GgufFormat
from luthier.export.go_template import Messages, build_go_template, render_go
from luthier.export.subject import Live, Subject
from luthier.export.verify import before_last_answer, message_dict
from luthier.types import Check, Conversation

MOST_CONTEXT = 8192
"""Tokens that Ollama reserves memory for; a model may be able to read more."""


class OllamaFormat:
    """`ollama create` reads the folder."""

    name = "ollama"
    title = "a Modelfile with its GGUF, for `ollama create`"
    types: tuple[str, ...] = GgufFormat.types
    default_type = "q8_0"

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """As gguf; the template must have a translation."""
        plan = GgufFormat().plan(subject, type)
        template = go_template_of(subject)
        notes = plan.notes
        if "tools" in subject.contract.template:
            notes = (*notes, "Tools are not in Ollama's template: calls have to be made through llama.cpp or Luthier.")
        return replace(plan, format=self.name, notes=notes, details=(plan.details, template))

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """GGUF and Modelfile."""
        details, template = plan.details
        GgufFormat().write(subject, replace(plan, details=details), folder, advance)
        text = modelfile(subject, plan.files[0].name, template)
        (folder / "Modelfile").write_text(text, encoding="utf-8")

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """The GGUF's checks, and the Modelfile's: tokens and stops."""
        details, template = plan.details
        verified = GgufFormat().verify(subject, replace(plan, details=details), folder, live)
        text = (folder / "Modelfile").read_text(encoding="utf-8")
        checks = [*verified.checks, _says_stops(text, subject.contract.stop_tokens)]
        if live is not None and live.conversations:
            checks.append(_same_tokens(subject, template, live.conversations))
        return Verified(checks, verified.figures, verified.sentences)

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """Ollama's way."""
        name = subject.name.lower()
        return Usage(f"ollama create {name} -f {folder / 'Modelfile'} && ollama run {name}", "run it with Ollama")


def render_prompt(subject: Subject, messages: Messages) -> str:
    """The text of a prompt, without the BOS that Ollama puts before it by itself."""
    tokenizer: Any = subject.tokenizer
    text = tokenizer.apply_chat_template(
        [dict(m) for m in messages],
        chat_template=full_template(tokenizer, subject.contract),
        add_generation_prompt=True,
        tokenize=False,
    )
    bos = tokenizer.bos_token
    return text.removeprefix(bos) if begins_with_bos(subject.template) else text


def go_template_of(subject: Subject) -> str:
    """The translated template.

    Raises:
        ModelError: It has none.
    """

    def render(messages: Messages) -> str:
        return render_prompt(subject, messages)

    try:
        render([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
        has_system = True
    except TemplateError:
        has_system = False
    try:
        return build_go_template(render, has_system=has_system)
    except TemplateError as error:
        raise ModelError(
            f"The chat template refuses plain conversations ({error}), so Ollama cannot use it."
        ) from error


def modelfile(subject: Subject, gguf: str, template: str) -> str:
    """What `ollama create` reads."""
    contract = subject.contract
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{template}"""']
    if contract.system_prompt is not None and "system" in template:
        if '"""' in contract.system_prompt:
            raise InputError('The system prompt holds """, which cannot stand in a Modelfile.')
        lines.append(f'SYSTEM """{contract.system_prompt}"""')
    lines += [f'PARAMETER stop "{token}"' for token in contract.stop_tokens]
    lines.append(f"PARAMETER temperature {contract.temperature:g}")
    if contract.temperature > 0:
        lines.append(f"PARAMETER top_p {contract.top_p:g}")
    lines.append(f"PARAMETER num_predict {contract.max_new_tokens}")
    lines.append(f"PARAMETER num_ctx {min(subject.config.max_position_embeddings, MOST_CONTEXT)}")
    if subject.card.get("licence"):
        lines.append(f'LICENSE """{subject.card["licence"]} (of the base model {subject.base.name})"""')
    return "\n".join(lines) + "\n"


def _says_stops(text: str, stop_tokens: Sequence[str]) -> Check:
    missing = [token for token in stop_tokens if f'PARAMETER stop "{token}"' not in text]
    return Check(
        name="export.modelfile_stops",
        claim="The Modelfile ends answers at the tokens that the model learnt to end them with.",
        measured="all" if not missing else f"{missing[0]} is missing",
        limit="all",
        unit="",
        passed=not missing,
        advice="Answers would not end. Export again.",
    )


def _same_tokens(subject: Subject, template: str, conversations: Sequence[Conversation]) -> Check:
    wrong = [why for c in conversations if not c.tools and (why := _difference(subject, template, c)) is not None]
    count = sum(not c.tools for c in conversations)
    return Check(
        name="export.modelfile_tokens",
        claim=f"The Modelfile's template turns {count} conversations of the run into the token ids of training.",
        measured=f"{count - len(wrong)} equal" + (f"; first other: {wrong[0]}" if wrong else ""),
        limit=f"{count} equal",
        unit="",
        passed=not wrong,
        advice="Ollama would ask the model in another way than it was taught. Export with --to gguf and use llama.cpp.",
    )


def _difference(subject: Subject, template: str, conversation: Conversation) -> str | None:
    messages = before_last_answer(conversation)
    dicts: list[dict[str, Any]] = [message_dict(m) for m in messages]
    system = subject.contract.system_prompt
    if system is not None and "system" in template and not any(m["role"] == "system" for m in dicts):
        dicts.insert(0, {"role": "system", "content": system})  # as Ollama does with SYSTEM
    tokenizer: Any = subject.tokenizer
    bos = [tokenizer.bos_token_id] if begins_with_bos(subject.template) else []
    ids = bos + tokenizer(render_go(template, dicts), add_special_tokens=False).input_ids
    try:
        trained = subject.template.prompt_ids(messages)
    except DataError as error:
        return f"{conversation.source}: {error}"
    return None if ids == trained else f"{conversation.source}: other token ids"
