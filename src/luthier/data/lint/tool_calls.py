"""Finds: tool calls that could not be carried out: broken JSON, a function that the row does not offer, a missing
argument, an argument that the function does not take.

Hurts: the model learns calls that fail. (Rows whose tool_calls column itself is broken do not get this far: they do not
fit.)
Do: correct the call or the list of tools.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule, shown
from luthier.types import Conversation

_TYPED = re.compile(
    r"<(tool_call|function_call|functioncall)>\s*(.*?)\s*(?:</\1>|\Z)|\[TOOL_CALLS\]\s*(\[.*\])", re.DOTALL
)


def _judge(row: LintRow) -> str | None:
    if not isinstance(row.item, Conversation):
        return None
    tools = dict(_offered(row.item))
    for message in row.messages:
        if message.role != "assistant":
            continue
        for call in message.tool_calls:
            function = call.get("function", call)
            if wrong := _wrong_call(function.get("name"), function.get("arguments"), tools):
                return wrong
        if (
            "_call>" in message.content or "functioncall>" in message.content or "[TOOL_CALLS]" in message.content
        ) and (wrong := _wrong_typed(message.content, tools)):
            return wrong
    return None


def _offered(item: Conversation) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for tool in item.tools:
        function = tool.get("function", tool)
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            parameters = function.get("parameters")
            yield function["name"], parameters if isinstance(parameters, dict) else {}


def _wrong_typed(text: str, tools: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What is wrong with calls that are written into the text."""
    for found in _TYPED.finditer(text):
        written = found.group(2) or found.group(3) or ""
        if not written.startswith(("{", "[")):
            continue  # another notation than JSON
        try:
            value = json.loads(written)
        except (ValueError, RecursionError) as error:
            return f"not JSON ({error}): {shown(written, 50)}"
        for call in value if isinstance(value, list) else [value]:
            if not isinstance(call, dict):
                return f"a call must be an object: {shown(written, 50)}"
            if wrong := _wrong_call(call.get("name"), call.get("arguments", call.get("parameters")), tools):
                return wrong
    return None


def _wrong_call(name: Any, arguments: Any, tools: Mapping[str, Mapping[str, Any]]) -> str | None:
    if not isinstance(name, str) or not name:
        return "a call without a name"
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return f"the arguments of {name} are not JSON: {shown(arguments, 40)}"
    if arguments is not None and not isinstance(arguments, dict):
        return f"the arguments of {name} are not an object"
    if not tools:
        return None
    if name not in tools:
        return f"{name} is not among the tools of the row ({', '.join(list(tools)[:4])})"
    return _wrong_arguments(name, arguments or {}, tools[name])


def _wrong_arguments(name: str, arguments: Mapping[str, Any], parameters: Mapping[str, Any]) -> str | None:
    required, known = parameters.get("required"), parameters.get("properties")
    missing = [key for key in required if key not in arguments] if isinstance(required, list) else []
    if missing:
        return f"{name} is called without {', '.join(map(str, missing))}"
    if isinstance(known, dict) and known and parameters.get("additionalProperties") in (None, False):
        unknown = [key for key in arguments if key not in known]
        if unknown:
            return f"{name} takes no {', '.join(unknown)}"
    return None


RULE: Rule = RowRule(
    name="tool_calls",
    severity="error",
    kinds=frozenset({"chat"}),
    looks_at="tool calls, against the tools that the row offers",
    judge=_judge,
    says="{rows} {have} a tool call that cannot be carried out: the model learns calls that fail.",
    fix="Correct the call or the row's list of tools.",
)
