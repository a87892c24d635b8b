"""What one message of a data file may hold, and how it becomes a `Message`. Complaints are `BadRowError`s with the reason.

Two spellings are read: OpenAI's (role, content, tool_calls, …) and ShareGPT's (from, value). In both, ``weight`` (or
``loss_weight``) says how much an assistant turn counts in the loss, 0 that it is not learnt. Arguments of tool calls become
objects, not JSON text: that is what chat templates render (OpenAI stores them as text).
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from luthier.types import Message, Role

OPENAI_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
SHAREGPT_ROLES: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "observation": "tool",
}
# What people write for a role in one spelling or another; only to say what was probably meant.
_ROLE_HINTS = {
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "agent": "assistant",
    "observation": "tool",
}
THINKING_KEYS = ("reasoning_content", "thinking", "reasoning")
_WEIGHT_KEYS = ("weight", "loss_weight")


class BadRowError(Exception):
    """Why a row cannot be learnt from; the caller knows which row."""


def message(role: Role, content: str) -> Message:
    """A message of plain text."""
    return Message(role, content)


def kind_of(value: Any) -> str:
    """What a value is, in a data author's words."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text {_short(value)}"
    if isinstance(value, bool | int | float):
        return f"the value {value}"
    return {list: "a list", dict: "an object"}.get(type(value), type(value).__name__)


def text_of(values: Mapping[str, Any], name: str, *, empty: bool = False, optional: bool = False) -> str:
    """The text in column `name`; "" where it is optional and missing."""
    value = values.get(name)
    if value is None and optional:
        return ""
    if value is None:
        raise BadRowError(f"{name} is {'null' if name in values else 'missing'}")
    if not isinstance(value, str):
        raise BadRowError(f"{name} must be text, found {kind_of(value)}")
    if not empty and not value.strip():
        raise BadRowError(f"{name} is empty")
    return value


def list_of(values: Mapping[str, Any], name: str) -> Sequence[Any]:
    """The non-empty list in column `name`."""
    value = values.get(name)
    if value is None:
        raise BadRowError(f"{name} is {'null' if name in values else 'missing'}")
    if isinstance(value, str):
        raise BadRowError(f"{name} must be a list of messages, found text (JSON saved as text?): {_short(value)}")
    if not isinstance(value, list):
        raise BadRowError(f"{name} must be a list of messages, found {kind_of(value)}")
    if not value:
        raise BadRowError(f"{name} is an empty list")
    return value


def messages_from_openai(items: Sequence[Any], column: str) -> tuple[Message, ...]:
    """Messages spelt with role and content."""
    return tuple(_openai_message(item, f"{column}[{index}]") for index, item in enumerate(items))


def messages_from_sharegpt(items: Sequence[Any], column: str) -> tuple[Message, ...]:
    """Messages spelt with from and value."""
    return tuple(_sharegpt_message(item, f"{column}[{index}]") for index, item in enumerate(items))


def _openai_message(item: Any, place: str) -> Message:
    role = _role(item, "role", OPENAI_ROLES, place)
    calls = _tool_calls(item, place)
    content = _content(item.get("content"), place, optional=bool(calls))
    name = item.get("name")
    if name is not None and not isinstance(name, str):
        raise BadRowError(f"{place}.name must be text, found {kind_of(name)}")
    thinking = next((item[key] for key in THINKING_KEYS if item.get(key) is not None), None)
    if thinking is not None and not isinstance(thinking, str):
        raise BadRowError(f"{place}: reasoning must be text, found {kind_of(thinking)}")
    call_id = item.get("tool_call_id") if role == "tool" else None
    if call_id is not None and not isinstance(call_id, str):
        raise BadRowError(f"{place}.tool_call_id must be text, found {kind_of(call_id)}")
    counts = _weight(item, role, place)
    return Message(role, content, name, calls, thinking, counts.train, call_id, counts.weight)


def _sharegpt_message(item: Any, place: str) -> Message:
    role = _role(item, "from", SHAREGPT_ROLES, place)
    counts = _weight(item, role, place)
    content = _content(item.get("value"), f"{place}.value", optional=False)
    if item["from"] != "function_call":
        return Message(role, content, train=counts.train, weight=counts.weight)
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise BadRowError(
            f"{place}: a function_call must be JSON with name and arguments: {_short(content)}"
        ) from error
    calls = parsed if isinstance(parsed, list) else [parsed]
    read = tuple(_tool_call(call, place) for call in calls)
    return Message("assistant", "", tool_calls=read, train=counts.train, weight=counts.weight)


def _role(item: Any, key: str, roles: Mapping[str, Role], place: str) -> Role:
    if not isinstance(item, dict):
        raise BadRowError(f"{place} must be an object with '{key}', found {kind_of(item)}")
    written = item.get(key)
    if not isinstance(written, str):
        keys = ", ".join(map(str, item)) or "none"
        raise BadRowError(f"{place} has no '{key}' (a text), found {kind_of(written)}; its keys: {keys}")
    role = roles.get(written)
    if role is None:
        hint = _ROLE_HINTS.get(written.lower().strip())
        hint = hint if hint in roles else next(iter(difflib.get_close_matches(written.lower(), roles, n=1)), None)
        meant = f"; did you mean '{hint}'?" if hint else ""
        raise BadRowError(f"{place}: the role '{written}' is not known{meant} (known: {', '.join(roles)})")
    return role


def _content(value: Any, place: str, *, optional: bool) -> str:
    """Text, or a list of text parts joined."""
    if value is None:
        if optional:
            return ""
        raise BadRowError(f"{place}: the content is null or missing")
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadRowError(f"{place}: the content must be text or a list of text parts, found {kind_of(value)}")
    texts: list[str] = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        text = (
            next((part[key] for key in ("text", "value") if part.get(key) is not None), None)
            if kind == "text"
            else None
        )
        if not isinstance(text, str):
            raise BadRowError(f"{place}: only parts of type 'text' can be read, found {kind or kind_of(part)}")
        texts.append(text)
    return "".join(texts)


class _Counts(NamedTuple):
    train: bool | None
    weight: float | None


def _weight(item: Mapping[str, Any], role: Role, place: str) -> _Counts:
    """Whether a turn is learnt, and how much it counts where that is not 1."""
    weight = read_weight(item, _WEIGHT_KEYS, place)
    if weight is None:
        return _Counts(None, None)
    if role != "assistant":
        if weight:
            raise BadRowError(f"{place}: weight {weight:g} on a {role} turn; only assistant turns are learnt")
        return _Counts(None, None)
    return _Counts(weight > 0, None if weight in (0, 1) else weight)


def read_weight(values: Mapping[str, Any], keys: Sequence[str], place: str) -> float | None:
    """A weight in the loss under one of some names; None where there is none."""
    weight = next((values[key] for key in keys if values.get(key) is not None), None)
    if weight is None:
        return None
    if not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise BadRowError(f"{place}: the weight must be a number of at least 0, found {kind_of(weight)}")
    return float(weight)


def _tool_calls(item: Mapping[str, Any], place: str) -> tuple[Mapping[str, Any], ...]:
    calls = item.get("tool_calls")
    legacy = item.get("function_call")
    if calls is None and legacy is not None:
        calls = [legacy]
    if calls is None:
        return ()
    if not isinstance(calls, list):
        raise BadRowError(f"{place}.tool_calls must be a list, found {kind_of(calls)}")
    return tuple(_tool_call(call, place) for call in calls)


def _tool_call(call: Any, place: str) -> Mapping[str, Any]:
    inner = call.get("function", call) if isinstance(call, dict) else call
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise BadRowError(f"{place}: a tool call needs a name and arguments, found {_short(str(call))}")
    arguments = inner.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError as error:
            raise BadRowError(f"{place}: the arguments of {inner['name']} are not JSON: {_short(arguments)}") from error
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise BadRowError(f"{place}: the arguments of {inner['name']} must be an object, found {kind_of(arguments)}")
    read: dict[str, Any] = {"type": "function", "function": {"name": inner["name"], "arguments": arguments}}
    if call.get("id") is not None:
        read["id"] = call["id"]
    return read


def read_tools(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Tool definitions: a list of objects, or the same as JSON text."""
    tools = values.get("tools")
    if isinstance(tools, str):
        if not tools.strip():
            return ()
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise BadRowError(f"tools is text but not JSON: {_short(tools)}") from error
    if tools is None:
        return ()
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise BadRowError(f"tools must be a list of objects, found {kind_of(tools)}")
    return tuple(tools)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
