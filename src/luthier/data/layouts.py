"""The ways in which rows of conversations and texts are laid out, and how a row of each becomes messages.

    messages           messages (or conversations): [{role, content, …}]; optional: system, tools
    sharegpt           conversations (or messages): [{from, value}]; optional: system, tools
    alpaca             instruction, output; optional: input, system, history
    dolly              instruction, response; optional: context, system
    flan               inputs, targets; optional: system
    prompt_completion  prompt, completion (texts or lists of messages); optional: system, tools
    question_answer    question, answer, or another pair of `PAIRS`; optional: context, system
    text               text, content or document

Alpaca: the user message is the instruction, then, where ``input`` is not empty, a blank line and the input; Dolly's context
and that of questions likewise. ``history`` is a list of [user, assistant] pairs that come before; their answers are learnt
like any other. A prompt given as messages is context alone: assistant turns in it are not learnt, those of the answer are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from luthier.data.messages import (
    BadRowError,
    kind_of,
    list_of,
    message,
    messages_from_openai,
    messages_from_sharegpt,
    read_tools,
    text_of,
)
from luthier.types import Message

Values = Mapping[str, Any]
Parts = tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]


class Layout(NamedTuple):
    """One way to lay out a row: a row fits when every part of one of the `needed` sets is there.

    Attributes:
        needed: Sets of columns; where a row has several of them, the first is read.
        optional: Columns that are read where they are there.
        item_key: A key that the items of the first needed column have, where that is a list.
        convert: Makes messages and tools; None for a text.
    """

    needed: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...]
    item_key: str | None
    convert: Callable[[Values], Parts] | None

    @property
    def parts(self) -> tuple[str, ...]:
        """Every column that the layout reads."""
        return tuple(dict.fromkeys(part for needed in self.needed for part in needed)) + self.optional

    def fits(self, values: Values) -> bool:
        """Whether a row has the columns, and lists of the right items where the layout reads lists."""
        for needed in self.needed:
            if all(values.get(part) is not None for part in needed):
                return self.item_key is None or _first_key(values[needed[0]], self.item_key)
        return False


def _first_key(items: Any, key: str) -> bool:
    """Whether the list's items look like the layout's; a value that is no list fits, and is complained about later."""
    if not isinstance(items, list) or not items or not isinstance(items[0], dict):
        return key == "role"
    return key in items[0]


def _from_messages(values: Values) -> Parts:
    column = _first_present(values, "messages", "conversations")
    messages = messages_from_openai(list_of(values, column), column)
    return _with_system(messages, values), read_tools(values)


def _from_sharegpt(values: Values) -> Parts:
    column = _first_present(values, "conversations", "messages")
    messages = messages_from_sharegpt(list_of(values, column), column)
    return _with_system(messages, values), read_tools(values)


def _from_alpaca(values: Values) -> Parts:
    asked = asked_with_input(values, "instruction", "input")
    messages: list[Message] = []
    history: Any = values.get("history") or []
    if not isinstance(history, list):
        raise BadRowError(f"history must be a list of pairs [user, assistant], found {kind_of(history)}")
    for index, pair in enumerate(history):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(t, str) for t in pair):
            raise BadRowError(f"history[{index}] must be a pair of texts [user, assistant], found {kind_of(pair)}")
        messages += [message("user", pair[0]), message("assistant", pair[1])]
    messages += [message("user", asked), message("assistant", text_of(values, "output", empty=True))]
    return _with_system(tuple(messages), values), ()


def asked_with_input(values: Values, question: str, extra: str) -> str:
    """A question and, below a blank line, what it is asked about."""
    asked = text_of(values, question, empty=True)
    about = text_of(values, extra, empty=True, optional=True)
    text = "\n\n".join(part for part in (asked, about) if part.strip())
    if not text:
        raise BadRowError(f"{question} and {extra} are both empty")
    return text


def _from_dolly(values: Values) -> Parts:
    asked = asked_with_input(values, "instruction", "context")
    messages = (message("user", asked), message("assistant", text_of(values, "response", empty=True)))
    return _with_system(messages, values), ()


def _from_pair(pairs: tuple[tuple[str, str], ...], values: Values) -> Parts:
    """Messages of the first pair of columns that the row has; both may be texts or lists of messages."""
    question, answer = next((p for p in pairs if all(values.get(name) is not None for name in p)), pairs[0])
    if isinstance(values.get(question), list):
        asked = messages_from_openai(list_of(values, question), question)
        asked = tuple(replace(m, train=False) for m in asked)
    elif values.get("context") is not None and "context" not in (question, answer) and pairs is PAIRS:
        asked = (message("user", asked_with_input(values, question, "context")),)
    else:
        asked = (message("user", text_of(values, question)),)
    if isinstance(values.get(answer), list):
        answered = messages_from_openai(list_of(values, answer), answer)
    else:
        answered = (message("assistant", text_of(values, answer, empty=True)),)
    return _with_system(asked + answered, values), read_tools(values)


def document_text(values: Values) -> str:
    """The text of a row of running text."""
    return text_of(values, _first_present(values, *TEXT_COLUMNS))


def _first_present(values: Values, *names: str) -> str:
    return next((name for name in names if values.get(name) is not None), names[0])


def _with_system(messages: tuple[Message, ...], values: Values) -> tuple[Message, ...]:
    text = text_of(values, "system", empty=True, optional=True)
    if not text.strip():
        return messages
    if messages and messages[0].role == "system":
        raise BadRowError("a system column and a system message: keep one of them")
    return (message("system", text), *messages)


TEXT_COLUMNS = ("text", "content", "document")
PAIRS = (
    ("question", "answer"),
    ("query", "response"),
    ("question", "response"),
    ("query", "answer"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("input", "output"),
    ("inputs", "outputs"),
    ("source", "target"),
    ("instruction", "answer"),
    ("instruction", "completion"),
    ("user", "assistant"),
    ("human", "assistant"),
)
_COMPLETION, _FLAN = (("prompt", "completion"),), (("inputs", "targets"),)

# In the order in which they are tried.
LAYOUTS: dict[str, Layout] = {
    "messages": Layout((("messages",), ("conversations",)), ("system", "tools"), "role", _from_messages),
    "sharegpt": Layout((("conversations",), ("messages",)), ("system", "tools"), "from", _from_sharegpt),
    "alpaca": Layout((("instruction", "output"),), ("input", "system", "history"), None, _from_alpaca),
    "dolly": Layout((("instruction", "response"),), ("context", "system"), None, _from_dolly),
    "flan": Layout(_FLAN, ("system",), None, partial(_from_pair, _FLAN)),
    "prompt_completion": Layout(_COMPLETION, ("system", "tools"), None, partial(_from_pair, _COMPLETION)),
    "question_answer": Layout(PAIRS, ("context", "system"), None, partial(_from_pair, PAIRS)),
    "text": Layout(tuple((name,) for name in TEXT_COLUMNS), (), None, None),
}
