"""Where in a row, as it stands in its file, its texts stand: for repairs that give a row back in its own layout.

A place is a path of columns, keys and positions (``messages``, 2, ``content``). Only columns that the layout reads are looked
into. What two places say together (an instruction and its input) stays two places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from luthier.data.layouts import PAIRS, TEXT_COLUMNS
from luthier.data.messages import OPENAI_ROLES, SHAREGPT_ROLES, THINKING_KEYS
from luthier.types import Role

PlacePath = tuple[str | int, ...]
Form = Literal["text", "json", "argument"]

# What stands in a column, by the part of a layout that it is.
_USER = ("prompt", "instruction", "input", "context", "inputs", *(question for question, _ in PAIRS))
_ASSISTANT = ("output", "response", "targets", "completion", *(answer for _, answer in PAIRS))
_JUDGED = (*("chosen", "rejected", "chosen_messages", "rejected_messages"), "response_j", "response_k")
_NOBODYS = (*TEXT_COLUMNS, "sentence", "utterance", "review", "tweet", "title")
ROLES: dict[str, Role | None] = {
    **dict.fromkeys(_NOBODYS),
    **dict.fromkeys(_USER, "user"),
    **dict.fromkeys((*_ASSISTANT, *_JUDGED), "assistant"),
    "system": "system",
}
MESSAGE_LISTS = ("messages", "conversations")


class TextPlace(NamedTuple):
    """One text of a row.

    Attributes:
        path: Where it stands.
        role: Whose it is; None for running text.
        form: Words (text), a call of a tool written as JSON, or a text inside the arguments of a call.
    """

    path: PlacePath
    role: Role | None
    form: Form = "text"


def text_places(
    values: Mapping[str, Any], unused: Sequence[str] = (), columns: Mapping[str, str] | None = None
) -> list[TextPlace]:
    """All texts of a row, in order.

    Args:
        values: The row.
        unused: Columns that the layout does not read.
        columns: ``{part: column}`` where names differ.
    """
    parts = {column: part for part, column in (columns or {}).items()}
    return [
        place
        for column, value in values.items()
        if column not in unused
        for place in _in_column(column, parts.get(column, column), value)
    ]


def other_texts(values: Mapping[str, Any], places: Sequence[TextPlace]) -> list[TextPlace]:
    """All texts of a row but those at `places`: other columns, and other keys of messages."""
    known = {place.path for place in places}
    return [place for place in _leaves(values, (), None) if place.path not in known]


def value_at(values: Any, path: PlacePath) -> Any:
    """What stands at a place.

    Raises:
        LookupError: There is no such place.
    """
    for step in path:
        if not isinstance(values, list if isinstance(step, int) else dict):
            raise LookupError(path)
        values = values[step]  # pyright: ignore[reportArgumentType, reportCallIssue]
    return values


def with_value(values: Any, path: PlacePath, value: Any) -> Any:
    """The same with another value at a place; what is given stays as it is."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    copied: Any = list(values) if isinstance(values, list) else dict(values)
    copied[step] = with_value(copied[step], rest, value)
    return copied


def _in_column(column: str, part: str, value: Any) -> Iterator[TextPlace]:
    if part in MESSAGE_LISTS or (part in ROLES and isinstance(value, list | dict)):
        items = {(column,): value} if isinstance(value, dict) else {}
        if isinstance(value, list):
            items = {(column, index): item for index, item in enumerate(value)}
        for path, item in items.items():
            yield from _in_message(item, path)
    elif part == "history" and isinstance(value, list):
        for index, pair in enumerate(value):
            for which, role in enumerate(("user", "assistant")):
                if isinstance(pair, list) and len(pair) > which and isinstance(pair[which], str):
                    yield TextPlace((column, index, which), role)
    elif part in ROLES and isinstance(value, str):
        yield TextPlace((column,), ROLES[part])


def _in_message(item: Any, path: PlacePath) -> Iterator[TextPlace]:
    if not isinstance(item, dict):
        return
    is_sharegpt = "from" in item and "role" not in item
    key, roles = ("value", SHAREGPT_ROLES) if is_sharegpt else ("content", OPENAI_ROLES)
    role = roles.get(str(item.get("from" if is_sharegpt else "role")))
    content = item.get(key)
    if isinstance(content, str):
        yield TextPlace((*path, key), role, "json" if item.get("from") == "function_call" else "text")
    elif isinstance(content, list):
        for index, part in enumerate(content):
            inner = next(
                (k for k in ("text", "value") if isinstance(part, dict) and isinstance(part.get(k), str)), None
            )
            if inner is not None:
                yield TextPlace((*path, key, index, inner), role)
    for thinking in THINKING_KEYS:
        if isinstance(item.get(thinking), str):
            yield TextPlace((*path, thinking), role)
    calls = item.get("tool_calls")
    for index, call in enumerate(calls if isinstance(calls, list) else ()):
        yield from _in_call(call, (*path, "tool_calls", index))
    yield from _in_call(item.get("function_call"), (*path, "function_call"))


def _in_call(call: Any, path: PlacePath) -> Iterator[TextPlace]:
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        call, path = call["function"], (*path, "function")
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if isinstance(arguments, str):
        yield TextPlace((*path, "arguments"), "assistant", "json")
    else:
        yield from _leaves(arguments, (*path, "arguments"), "assistant")


def _leaves(value: Any, path: PlacePath, role: Role | None) -> Iterator[TextPlace]:
    if isinstance(value, str):
        yield TextPlace(path, role, "argument")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key), role)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index), role)
