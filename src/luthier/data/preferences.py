r"""Rows that compare or judge answers: preference pairs, and single answers with a label (KTO's). Recognised and converted.

Preference pairs have chosen and rejected answers (also chosen_messages and rejected_messages, response_j and response_k),
each a text, a message or a list of messages. The prompt stands in a column of its own, or is implicit: what both lists of
messages begin with, or what both transcripts (``\n\nHuman: … \n\nAssistant: …``) begin with. ``margin``, or the difference of
score_chosen and score_rejected, says by how much the chosen one is better.

Labelled rows are prompt and completion, or messages that end with the answer, and a ``label`` (or kto_tag): true, false, 1, 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from luthier.data.layouts import LAYOUTS, asked_with_input
from luthier.data.messages import BadRowError, kind_of, message, messages_from_openai, messages_from_sharegpt, text_of
from luthier.data.row import Row
from luthier.types import LabelledAnswer, Message, PreferencePair

Values = Mapping[str, Any]

PREFERENCE_COLUMNS = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"), ("response_j", "response_k"))
PROMPT_COLUMNS = ("prompt", "question", "instruction", "query", "input", "messages", "conversations")
LABEL_COLUMNS = ("label", "kto_tag")
SCORE_COLUMNS = (("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"))
PREFERENCE_PARTS = frozenset(
    (*(name for pair in (*PREFERENCE_COLUMNS, *SCORE_COLUMNS) for name in pair), *PROMPT_COLUMNS, "margin", "system")
)
"""Every column that may be read of a preference pair."""
LABELLED_PARTS = frozenset((*LABEL_COLUMNS, "prompt", "completion", "messages", "conversations", "system", "tools"))
"""And of a labelled answer."""
_LABELS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def preference_columns(values: Values) -> tuple[str, str] | None:
    """The columns with the better and the worse answer, where a row has both."""
    for pair in PREFERENCE_COLUMNS:
        if all(values.get(name) is not None for name in pair):
            return pair
    return None


def is_labelled(values: Values) -> bool:
    """Whether a row is one answer with a verdict of true or false."""
    if not any(LAYOUTS[name].fits(values) for name in ("messages", "sharegpt", "prompt_completion")):
        return False
    return any(_label(values.get(name)) is not None for name in LABEL_COLUMNS)


def to_pair(row: Row) -> PreferencePair:
    """A row as a preference pair.

    Raises:
        BadRowError: Why it is none.
    """
    values = row.value
    columns = preference_columns(values)
    if columns is None:
        raise BadRowError(f"no chosen and rejected answer; its columns: {', '.join(values)}")
    prompt_column = next((name for name in PROMPT_COLUMNS if values.get(name) not in (None, "", [])), None)
    if prompt_column is None and all(isinstance(values[name], str) for name in columns):
        chosen, rejected = (_transcript(values[name], name) for name in columns)
    else:
        chosen, rejected = (_messages(values[name], name, "assistant") for name in columns)
    if prompt_column is None:
        prompt = _common_beginning(chosen, rejected)
    elif prompt_column == "instruction":
        prompt = (message("user", asked_with_input(values, "instruction", "input")),)
    else:
        prompt = _messages(values[prompt_column], prompt_column, "user")
    answers = tuple(_behind(prompt, answer, name) for answer, name in zip((chosen, rejected), columns, strict=True))
    system = text_of(values, "system", empty=True, optional=True)
    if system.strip() and not any(m.role == "system" for m in prompt):
        prompt = (message("system", system), *prompt)
    return PreferencePair(prompt, answers[0], answers[1], _margin(values), row.source)


def to_labelled(row: Row) -> LabelledAnswer:
    """A row as an answer with a label.

    Raises:
        BadRowError: Why it is none.
    """
    values = row.value
    name = next((name for name in LABEL_COLUMNS if values.get(name) is not None), LABEL_COLUMNS[0])
    label = _label(values.get(name))
    if label is None:
        raise BadRowError(f"{name} must be true or false, found {kind_of(values.get(name))}")
    layout = next((LAYOUTS[n] for n in ("messages", "sharegpt", "prompt_completion") if LAYOUTS[n].fits(values)), None)
    if layout is None or layout.convert is None:
        raise BadRowError("no prompt and completion, and no messages")
    messages, _ = layout.convert(values)
    if not messages or messages[-1].role != "assistant":
        raise BadRowError("the last message is no answer of the assistant")
    start = next(i for i in range(len(messages), 0, -1) if i == 1 or messages[i - 2].role not in ("assistant", "tool"))
    return LabelledAnswer(messages[: start - 1], messages[start - 1 :], label, row.source)


def _label(value: Any) -> bool | None:
    return _LABELS.get(str(value).strip().lower()) if isinstance(value, bool | int | float | str) else None


def _messages(value: Any, name: str, role: Any) -> tuple[Message, ...]:
    """A text, a message or a list of messages as messages."""
    if isinstance(value, str):
        if not value.strip() and role == "user":
            raise BadRowError(f"{name} is empty")
        return (message(role, value),)
    items = [value] if isinstance(value, dict) else value
    if not isinstance(items, list) or not items:
        raise BadRowError(f"{name} must be text or messages, found {kind_of(value)}")
    if isinstance(items[0], dict) and "from" in items[0]:
        read = messages_from_sharegpt(items, name)
    else:
        read = messages_from_openai(items, name)
    if any(turn.weight is not None for turn in read):
        raise BadRowError(f"{name}: answers that are compared count as a whole; a turn's weight is 0 or 1 here")
    return read


def _transcript(text: str, name: str) -> tuple[Message, ...]:
    pieces = _TRANSCRIPT.split(text)
    if len(pieces) < 3 or pieces[0].strip():
        raise BadRowError(f"there is no prompt: no column for it, and {name} is no transcript (Human: … Assistant: …)")
    spoken = zip(pieces[1::2], pieces[2::2], strict=True)
    return tuple(message("user" if who == "Human" else "assistant", said.strip()) for who, said in spoken)


def _common_beginning(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> tuple[Message, ...]:
    """What both begin with, up to the first assistant turn in which they differ, or to the last one."""
    most = min(len(chosen), len(rejected)) - 1
    length = next((i for i in range(most) if not _same(chosen[i], rejected[i])), most)
    while length and not (chosen[length].role == rejected[length].role == "assistant"):
        length -= 1
    if not length:
        raise BadRowError(
            "there is no prompt: no column for it, and the two answers do not begin with the same messages"
        )
    return chosen[:length]


def _behind(prompt: tuple[Message, ...], answer: tuple[Message, ...], name: str) -> tuple[Message, ...]:
    """The answer without the prompt, where it repeats it."""
    asked = [m for m in prompt if m.role != "system"]
    spoken = [m for m in answer if m.role != "system"]
    if asked and len(spoken) > len(asked) and all(map(_same, asked, spoken)):
        spoken = spoken[len(asked) :]
    if not spoken or spoken[0].role != "assistant":
        found = spoken[0].role if spoken else "nothing"
        raise BadRowError(f"{name}: expected the assistant's answer to the prompt, found {found}")
    return tuple(spoken)


def _same(left: Message, right: Message) -> bool:
    return (left.role, left.content, left.tool_calls) == (right.role, right.content, right.tool_calls)


def _margin(values: Values) -> float | None:
    margin = values.get("margin")
    if isinstance(margin, int | float):
        return float(margin)
    for better, worse in SCORE_COLUMNS:
        high, low = values.get(better), values.get(worse)
        if isinstance(high, int | float) and isinstance(low, int | float):
            return float(high) - float(low)
    return None
