"""Which layout rows have, and how a row of that layout becomes a `Conversation` or a `Document`.

Layouts and the columns that they need:

    messages           messages (or conversations): [{role, content, …}]; optional: system, tools
    sharegpt           conversations (or messages): [{from, value}]; optional: system, tools
    alpaca             instruction, output; optional: input, system, history
    prompt_completion  prompt, completion (texts or lists of messages); optional: system, tools
    text               text, content or document

Where rows fit several, the first of this order that fits at least half of them is taken, and `RowFormat.why` says so.
`columns` (``{part: column}``) maps other names, and nothing else overrides what the columns say. What one message may
hold is the business of `messages.py`.

Alpaca: the user message is the instruction, then, where ``input`` is not empty, a blank line and the input. ``history``
is a list of [user, assistant] pairs that come before; their answers are learnt like any other.
A prompt given as messages is context alone: assistant turns in it are not learnt, those of the completion are.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
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
from luthier.data.sources import Row
from luthier.errors import DataError
from luthier.types import Conversation, Document, Finding, Message

Item = Conversation | Document
Values = Mapping[str, Any]


class Layout(NamedTuple):
    """One way to lay out a row: a row fits when every part of one of the `needed` sets is there."""

    needed: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...]
    item_key: str | None
    convert: Callable[[Values], tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]] | None

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


class RowFormat(NamedTuple):
    """What was recognised: the layout's name, the reason in words, and the conversion (raises `BadRowError`)."""

    name: str
    why: str
    to_item: Callable[[Row], Item]
    unused: tuple[str, ...]


class Converted(NamedTuple):
    """Rows that fit, and one error finding for each row that does not."""

    items: list[Item]
    problems: list[Finding]


def recognise(rows: Sequence[Row], format: str = "auto", columns: Mapping[str, str] | None = None) -> RowFormat:
    """Find the layout of `rows`.

    Args:
        rows: All rows of one file; every one is looked at.
        format: A layout's name to insist on it; "auto" to go by the columns.
        columns: ``{part: column}`` where names differ, e.g. ``{"prompt": "question", "completion": "answer"}``.

    Raises:
        DataError: No layout fits, or `columns` names a part or a column that does not exist.
    """
    columns = dict(columns or {})
    found = list(dict.fromkeys(name for row in rows for name in row.value))
    candidates = _candidates(format, columns, found)
    views = [_renamed(row.value, columns) for row in rows]
    coverage = {name: sum(LAYOUTS[name].fits(view) for view in views) for name in candidates}
    fitting = [name for name in candidates if coverage[name]]
    preferences = sum(_is_preference(view) for view in views) * 2 >= len(views) and format == "auto"
    if preferences:
        fitting = [name for name in fitting if name in ("alpaca", "prompt_completion")]
    if not fitting:
        raise DataError(_nothing_fits(rows, found, candidates, format, preferences))
    common = [name for name in fitting if coverage[name] * 2 >= len(rows)]
    chosen = common[0] if common else max(fitting, key=lambda name: coverage[name])
    unused = _unused(chosen, found, columns)
    why = _why(chosen, format, columns, coverage, len(rows), unused)
    return RowFormat(chosen, why, _converter(chosen, columns), unused)


def convert(rows: Sequence[Row], row_format: RowFormat) -> Converted:
    """Convert every row; those that do not fit come back as findings with their place and reason."""
    items: list[Item] = []
    problems: list[Finding] = []
    for row in rows:
        try:
            items.append(row_format.to_item(row))
        except BadRowError as bad:
            problems.append(
                Finding(
                    "row_does_not_fit", "error", (row.source,), str(bad), "Correct the row or remove it from the file."
                )
            )
    return Converted(items, problems)


def _converter(name: str, columns: Mapping[str, str]) -> Callable[[Row], Item]:
    layout = LAYOUTS[name]

    def to_item(row: Row) -> Item:
        values = _renamed(row.value, columns)
        if layout.convert is None:
            return Document(_document_text(values), row.source)
        messages, tools = layout.convert(values)
        if not any(m.role == "assistant" for m in messages):
            raise BadRowError(f"no assistant turn among {len(messages)} messages: there is nothing to learn")
        if not any(m.is_trained for m in messages):
            raise BadRowError("every assistant turn has weight 0: there is nothing to learn")
        return Conversation(messages, tools, row.source)

    return to_item


def _renamed(value: Values, columns: Mapping[str, str]) -> Values:
    """The row by parts: mapped columns under their part's name alone."""
    if not columns:
        return value
    taken = set(columns.values()) | set(columns)
    view = {name: inner for name, inner in value.items() if name not in taken}
    view.update({part: value.get(column) for part, column in columns.items()})
    return view


def _first_key(items: Any, key: str) -> bool:
    """Whether the list's items look like the layout's; a value that is no list fits, and is complained about later."""
    if not isinstance(items, list) or not items or not isinstance(items[0], dict):
        return key == "role"
    return key in items[0]


def _is_preference(values: Values) -> bool:
    return any(values.get(a) is not None and values.get(b) is not None for a, b in PREFERENCE_COLUMNS)


# --- one function per layout --------------------------------------------------------------------------------------

Parts = tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]]


def _from_messages(values: Values) -> Parts:
    column = _first_present(values, "messages", "conversations")
    messages = messages_from_openai(list_of(values, column), column)
    return _with_system(messages, values), read_tools(values)


def _from_sharegpt(values: Values) -> Parts:
    column = _first_present(values, "conversations", "messages")
    messages = messages_from_sharegpt(list_of(values, column), column)
    return _with_system(messages, values), read_tools(values)


def _from_alpaca(values: Values) -> Parts:
    instruction = text_of(values, "instruction", empty=True)
    extra = text_of(values, "input", empty=True, optional=True)
    asked = "\n\n".join(part for part in (instruction, extra) if part.strip())
    if not asked:
        raise BadRowError("instruction and input are both empty")
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


def _from_prompt_completion(values: Values) -> Parts:
    prompt, completion = values.get("prompt"), values.get("completion")
    if isinstance(prompt, list):
        asked = messages_from_openai(list_of(values, "prompt"), "prompt")
        asked = tuple(Message(m.role, m.content, m.name, m.tool_calls, m.thinking, train=False) for m in asked)
    else:
        asked = (message("user", text_of(values, "prompt")),)
    if isinstance(completion, list):
        answer = messages_from_openai(list_of(values, "completion"), "completion")
    else:
        answer = (message("assistant", text_of(values, "completion", empty=True)),)
    return _with_system(asked + answer, values), read_tools(values)


def _document_text(values: Values) -> str:
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
PREFERENCE_COLUMNS = (("chosen", "rejected"), ("chosen_messages", "rejected_messages"))

# In the order in which they are tried.
LAYOUTS: dict[str, Layout] = {
    "messages": Layout((("messages",), ("conversations",)), ("system", "tools"), "role", _from_messages),
    "sharegpt": Layout((("conversations",), ("messages",)), ("system", "tools"), "from", _from_sharegpt),
    "alpaca": Layout((("instruction", "output"),), ("input", "system", "history"), None, _from_alpaca),
    "prompt_completion": Layout((("prompt", "completion"),), ("system", "tools"), None, _from_prompt_completion),
    "text": Layout(tuple((name,) for name in TEXT_COLUMNS), (), None, None),
}

# Names that often play a part under another name: only to suggest a mapping, never to apply one.
_SUGGESTIONS = (
    ("alpaca", "instruction", ("instruction",), "output", ("response", "answer", "completion", "target")),
    (
        "prompt_completion",
        "prompt",
        ("prompt", "question", "query", "input", "instruction", "source", "user"),
        "completion",
        ("completion", "answer", "response", "output", "target", "sql", "code", "label", "assistant", "reply"),
    ),
)


# --- words --------------------------------------------------------------------------------------------------------


def _candidates(format: str, columns: Mapping[str, str], found: list[str]) -> list[str]:
    if format != "auto" and format not in LAYOUTS:
        raise DataError(f"data.format: '{format}' is not known; known: auto, {', '.join(LAYOUTS)}")
    candidates = list(LAYOUTS) if format == "auto" else [format]
    parts = list(dict.fromkeys(part for name in candidates for part in LAYOUTS[name].parts))
    for part, column in columns.items():
        if part not in parts:
            raise DataError(f"data.columns: there is no part '{part}'{_meant(part, parts)}; parts: {', '.join(parts)}")
        if column not in found:
            raise DataError(
                f"data.columns: {part} is mapped to the column '{column}', which the rows do not have"
                f"{_meant(column, found)}; columns found: {', '.join(found)}"
            )
    mapped = [name for name in candidates if set(columns) <= set(LAYOUTS[name].parts)]
    if not mapped:
        raise DataError(f"data.columns: no layout has all of the parts {', '.join(columns)}; {_expected(candidates)}")
    return mapped


def _unused(chosen: str, found: list[str], columns: Mapping[str, str]) -> tuple[str, ...]:
    layout = LAYOUTS[chosen]
    alternatives = [part for needed in layout.needed for part in needed] if len(layout.needed) > 1 else []
    read = (set(layout.parts) - set(columns)) | set(columns.values())
    if alternatives:  # of names that stand for one another, the first that is there is read
        present = [part for part in alternatives if part in columns or part in found]
        read -= set(present[1:]) - set(columns.values())
    return tuple(name for name in found if name not in read)


def _why(
    chosen: str, format: str, columns: Mapping[str, str], coverage: Mapping[str, int], total: int, unused: Sequence[str]
) -> str:
    words = [f"{chosen}: {coverage[chosen]} of {total} rows have the columns it needs"]
    if format != "auto":
        words[0] += f" (asked for by data.format: {format})"
    if columns:
        words.append("mapped by data.columns: " + ", ".join(f"{part} ← {column}" for part, column in columns.items()))
    others = [name for name, count in coverage.items() if count and name != chosen]
    if others:
        words.append(f"{' and '.join(others)} would fit too; {chosen} was taken by the order {' → '.join(LAYOUTS)}")
    if unused:
        words.append(f"columns not used: {', '.join(unused)}")
    return "; ".join(words)


def _nothing_fits(rows: Sequence[Row], found: list[str], names: Sequence[str], format: str, preferences: bool) -> str:
    file = rows[0].source.file if rows else "data"
    asked = "any known layout" if format == "auto" else f"the layout '{format}'"
    lines = [f"{file}: the columns do not fit {asked}. Columns found: {', '.join(found) or 'none'}."]
    lines.append(_expected(names))
    if preferences:
        lines.append(
            "The rows look like preference pairs (chosen and rejected): those are for preference objectives; to imitate "
            "the chosen answers, map that column, e.g. data.columns: {prompt: prompt, completion: chosen}."
        )
        return "\n".join(lines)
    parts = list(dict.fromkeys(part for name in names for part in LAYOUTS[name].parts))
    typos = [(name, close) for name in found if name not in parts and (close := _close(name, parts))]
    lines += [f"Did you mean '{close}' where the file says '{name}'?" for name, close in typos]
    lines.append(f"Other names are mapped in the recipe, e.g. data.columns: {_suggested_mapping(found, names)}")
    return "\n".join(lines)


def _suggested_mapping(found: Sequence[str], names: Sequence[str]) -> str:
    lower = {name.lower(): name for name in found}
    for layout, asked, asked_names, answered, answer_names in _SUGGESTIONS:
        question = next((lower[n] for n in asked_names if n in lower), None)
        answer = next((lower[n] for n in answer_names if n in lower and lower[n] != question), None)
        if layout in names and question and answer:
            return f"{{{asked}: {question}, {answered}: {answer}}}"
    return "{prompt: your_question_column, completion: your_answer_column}"


def _expected(names: Sequence[str]) -> str:
    lines = ["Expected one of:"]
    for name in names:
        layout = LAYOUTS[name]
        needed = " or ".join(", ".join(parts) for parts in layout.needed)
        items = f" (a list of objects with '{layout.item_key}')" if layout.item_key else ""
        optional = f"; optional: {', '.join(layout.optional)}" if layout.optional else ""
        lines.append(f"  {name:<18} {needed}{items}{optional}")
    return "\n".join(lines)


def _close(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)), None)


def _meant(name: str, known: Sequence[str]) -> str:
    close = _close(name, known)
    return f" (did you mean '{close}'?)" if close else ""
