"""Messages to text, always through the model's own chat template: the one place that training and serving share.

What is special here:

- *Literals*. Text that a person wrote may contain the string of a control token (``<|im_end|>``). Such stretches are marked
  before the template runs and come out as `Rendering.literals`; `encoding.py` keeps them plain text.
- *Pinned dates*. A template that asks for today (``strftime_now``: Llama 3.2, Mistral Small) would give other tokens every
  day. `pin_date` puts a macro in front of the template that answers with one fixed date; nothing else of it changes.
- *System messages* that a template refuses (Gemma 2), leaves out, or moves to the last question so that no answer is ever
  seen behind them (Mistral) are put in front of the first user message, with an empty line between.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import BatchEncoding, PreTrainedTokenizerBase

from luthier.data.growing import GrowingTemplate, Growth
from luthier.data.marks import Rendering, free_marks, mark_author, read_marks
from luthier.data.run_template import TEMPLATE_FAULTS, TemplateProgram, is_plain
from luthier.errors import DataError
from luthier.types import Message

PINNED_DATE = datetime.date(2024, 7, 26)
"""Today, for templates that ask: the date that Llama 3's templates fall back to."""

# Special in some tokenizers, but in an answer people write them and mean them: reasoning is opened and closed with them.
_THINKING_TAG = re.compile(r"[<\[]/?(think|thinking|reasoning)[>\]]", re.IGNORECASE)
_ASKS_FOR_CALL_ID = re.compile(r"tool_call_id|tool_call\.id|tool_call\[.id.\]|\bcall\.id\b|\btc\.id\b|\btool\.id\b")


@dataclass(frozen=True)
class Prepared:
    """A conversation as its template receives it.

    Attributes:
        messages: What `dicts` were made from: the system message added or folded.
        dicts: transformers' shape of messages; literals are marked.
        tools: Function schemas, or None.
        marks: Four characters that the conversation does not contain: literal open, close, turn start, end.
        has_literals: Whether anything was marked.
        is_plain: Whether it is made of JSON's types alone.
    """

    messages: tuple[Message, ...]
    dicts: tuple[dict[str, Any], ...]
    tools: tuple[Any, ...] | None
    marks: str
    has_literals: bool
    is_plain: bool

    @cached_property
    def trained(self) -> tuple[int, ...]:
        """Indices of the messages that are learnt."""
        return tuple([index for index, message in enumerate(self.messages) if message.is_trained])


class Renderer:
    """A chat template with all that it is rendered with.

    Args:
        tokenizer: Gives `apply_chat_template` and the special tokens that a template may name.
        template: Jinja text, its date pinned.
        template_kwargs: Variables for the template (``enable_thinking``, ``date_string``).
        system_prompt: Put before conversations that have no system message.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        template_kwargs: Mapping[str, Any],
        system_prompt: str | None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.template_kwargs = dict(template_kwargs)
        self.system_prompt = system_prompt
        variables = {**tokenizer.special_tokens_map, **self.template_kwargs}
        self._program = TemplateProgram.compile(template, variables)
        self._growing = GrowingTemplate.prove(template, variables)
        self._fills_call_ids = bool(_ASKS_FOR_CALL_ID.search(template))
        self.set_control_tokens(t.content for t in tokenizer.added_tokens_decoder.values() if t.special)
        self.folds_system = self._must_fold_system()

    def set_control_tokens(self, tokens: Any) -> None:
        """Say which strings are control tokens, and so must stay plain text where people wrote them."""
        self.control_tokens = frozenset(t for t in tokens if t and not _THINKING_TAG.fullmatch(t))
        longest_first = sorted(self.control_tokens, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        # A tokenizer can have a thousand of these; most text holds not even their first characters.
        self._control_openings = tuple({t[:2] for t in self.control_tokens})

    def find_control_tokens(self, text: str) -> list[str]:
        """The control-token strings in a text that a person wrote, in order."""
        if not any(opening in text for opening in self._control_openings):
            return []
        return self._control.findall(text)

    def find_literals(self, text: str) -> tuple[tuple[int, int], ...]:
        """Where they are."""
        if not any(opening in text for opening in self._control_openings):
            return ()
        return tuple(match.span() for match in self._control.finditer(text))

    # -- messages to the template's input ------------------------------------------------------------------------------

    def prepare(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Prepared:
        """Add or fold the system message, give messages transformers' shape, mark literals.

        A beginning of `messages` gives a beginning of the result.
        """
        prepared = self._with_system(tuple(messages))
        dicts = self._to_dicts(prepared)
        simple = not tools and not any(message.tool_calls for message in prepared)
        written = [text for d in dicts for text in d.values()] if simple else _strings([dicts, list(tools)])
        whole = "\0".join(written)  # one look at all texts is faster than one at each
        marks = free_marks(whole)
        has_literals = bool(self.find_control_tokens(whole))
        if has_literals:
            substitute = f"{marks[0]}\\g<0>{marks[1]}"
            dicts = [{**_map_strings(d, lambda s: self._control.sub(substitute, s)), "role": d["role"]} for d in dicts]
            tools = _map_strings(list(tools), lambda s: self._control.sub(substitute, s))
        plain = simple or (is_plain(dicts) and is_plain(tools))
        return Prepared(prepared, tuple(dicts), tuple(tools) or None, marks, has_literals, plain)

    def _with_system(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        if self.system_prompt is not None and not any(m.role == "system" for m in messages):
            messages = (Message("system", self.system_prompt), *messages)
        if not (self.folds_system and messages and messages[0].role == "system"):
            return messages
        system, *rest = messages
        if not rest:
            return ()
        if rest[0].role != "user":
            raise DataError(
                "This chat template has no place for a system message, and there is no user message behind it that could "
                f"carry it (found: {rest[0].role}). Remove the system message, or let a user message follow it."
            )
        return (replace(rest[0], content=f"{system.content}\n\n{rest[0].content}"), *rest[1:])

    def _to_dicts(self, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        dicts: list[dict[str, Any]] = []
        open_calls: list[str] = []
        num_calls = 0
        for message in messages:
            shaped: dict[str, Any] = {"role": message.role, "content": message.content}
            if message.name is not None:
                shaped["name"] = message.name
            if message.thinking is not None:
                # Templates read one of the two names; gpt-oss's the second.
                shaped["reasoning_content"] = shaped["thinking"] = message.thinking
            if message.tool_calls:
                calls = [_shape_call(call) for call in message.tool_calls]
                if self._fills_call_ids:
                    for call in calls:
                        call.setdefault("id", f"call{num_calls:05d}")  # nine characters: Mistral takes no other length
                        num_calls += 1
                open_calls = [call["id"] for call in calls if "id" in call]
                shaped["tool_calls"] = calls
            if message.role == "tool" and message.tool_call_id in open_calls:
                open_calls.remove(message.tool_call_id)
                shaped["tool_call_id"] = message.tool_call_id
            elif message.role == "tool" and open_calls:
                shaped["tool_call_id"] = open_calls.pop(0)
            dicts.append(shaped)
        return dicts

    # -- the template --------------------------------------------------------------------------------------------------

    def render(
        self,
        prepared: Prepared,
        num_messages: int | None = None,
        *,
        generation_prompt: bool = False,
        mark_message: int | None = None,
    ) -> Rendering:
        """Render the first `num_messages` messages (all by default).

        Args:
            prepared: From `prepare`.
            num_messages: How many messages the template gets to see.
            generation_prompt: Whether the opening of the next answer is added.
            mark_message: Index of a message whose place is to be found; see `Rendering.turn`.

        Raises:
            DataError: The template refuses the messages.
        """
        dicts = list(prepared.dicts[:num_messages])
        if mark_message is not None:
            dicts[mark_message] = mark_author(dicts[mark_message], prepared.marks)
        try:
            if dicts and prepared.is_plain and self._program is not None:
                text = self._program.render(dicts, prepared.tools, generation_prompt)
            else:
                text = self._apply(dicts, prepared.tools, generation_prompt)
        except TEMPLATE_FAULTS as error:
            raise DataError(
                f"The chat template refuses this conversation: {error} (roles: {', '.join(d['role'] for d in dicts)}). "
                "Change the row to what the model's template allows, or choose another template with model.chat_template."
            ) from error
        if not (prepared.has_literals or mark_message is not None):
            return Rendering(text)
        return read_marks(text, prepared.marks)

    def grow(self, prepared: Prepared) -> Growth | None:
        """All beginnings at once, where the template allows it; for conversations without literals."""
        if self._growing is None or not prepared.is_plain or prepared.has_literals or not prepared.dicts:
            return None
        try:
            return self._growing.grow(prepared.dicts, prepared.tools)
        except TEMPLATE_FAULTS:
            return None  # `render` finds out which of the beginnings it is that the template refuses

    def end(self, *, generation_prompt: bool) -> str:
        """What the template writes behind the messages, where `grow` has shown that it is always the same."""
        assert self._growing is not None
        return self._growing.end(generation_prompt=generation_prompt)

    def try_render(self, prepared: Prepared, num_messages: int, *, generation_prompt: bool = False) -> Rendering | None:
        """`render`, or None where the template refuses this beginning of the conversation."""
        try:
            return self.render(prepared, num_messages, generation_prompt=generation_prompt)
        except DataError:
            return None

    def marker_mask(self, prepared: Prepared) -> NDArray[np.bool_]:
        """Which tokens the template's own ``{% generation %}`` markers enclose; for conversations without literals."""
        encoded = self.tokenizer.apply_chat_template(
            list(prepared.dicts),
            tools=list(prepared.tools) if prepared.tools else None,
            chat_template=self.template,
            return_dict=True,
            return_assistant_tokens_mask=True,
            **self.template_kwargs,
        )
        assert isinstance(encoded, BatchEncoding)
        return np.asarray(encoded["assistant_masks"], dtype=np.bool_)

    def _apply(self, dicts: list[dict[str, Any]], tools: Sequence[Any] | None, generation_prompt: bool) -> str:
        rendered = self.tokenizer.apply_chat_template(
            dicts,
            tools=list(tools) if tools else None,
            chat_template=self.template,
            add_generation_prompt=generation_prompt,
            tokenize=False,
            **self.template_kwargs,
        )
        assert isinstance(rendered, str)
        return rendered

    def _must_fold_system(self) -> bool:
        """Whether the template refuses a system message or shows it in a prompt but not in front of its answer (Mistral)."""
        user = {"role": "user", "content": "Hello there"}
        system = {"role": "system", "content": "Be brief"}
        try:
            self._apply([user], None, generation_prompt=True)
        except TEMPLATE_FAULTS:
            return False  # the template has other needs; what it says about them is shown when it is used
        try:
            prompt = self._apply([system, user], None, generation_prompt=True)
            answered = self._apply(
                [system, user, {"role": "assistant", "content": "Hi"}], None, generation_prompt=False
            )
        except TEMPLATE_FAULTS:
            return True
        return "Be brief" not in prompt or "Be brief" not in answered


def pin_date(template: str, date: datetime.date = PINNED_DATE) -> str:
    """The template with `date` as its today; unchanged where it does not ask."""
    if "strftime_now" not in template or "macro strftime_now" in template:
        return template
    values = {code: date.strftime(code) for code in ("%Y", "%y", "%m", "%d", "%B", "%b", "%A", "%a", "%j")}
    values |= {"%e": f"{date.day:2d}", "%-d": str(date.day), "%-m": str(date.month), "%H": "00", "%M": "00", "%S": "00"}
    values |= {"%F": date.isoformat(), "%Z": "", "%z": ""}
    replaced = "".join(f" | replace({code!r}, {value!r})" for code, value in values.items())
    return f"{{%- macro strftime_now(format) -%}}{{{{- format{replaced} -}}}}{{%- endmacro %}}\n{template}"


def _shape_call(call: Mapping[str, Any]) -> dict[str, Any]:
    """Transformers' shape: ``{"type": "function", "function": {"name", "arguments": {…}}}``, arguments as an object."""
    function = dict(call.get("function", call))
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments)
        except ValueError:
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else arguments
    shaped: dict[str, Any] = {
        "type": "function",
        "function": {"name": function.get("name", ""), "arguments": arguments},
    }
    if call.get("id"):
        shaped["id"] = call["id"]
    return shaped


def _strings(value: Any) -> list[str]:
    """All strings in a nest of lists and dicts, keys left out."""
    if isinstance(value, str):
        return [value]
    children = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [text for child in children for text in _strings(child)]


def _map_strings(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _map_strings(child, change) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_map_strings(child, change) for child in value]
    return value
