"""Calls of tools in the text of an answer, in the two spellings that most templates teach.

``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` (Hermes, Qwen, SmolLM), and the whole answer one object with name and
parameters (Llama 3). What is neither stays text.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from typing import Any, NamedTuple

_MARKED = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


class Said(NamedTuple):
    """The text of an answer without its calls, and the calls as OpenAI spells them."""

    text: str
    calls: list[dict[str, Any]]


def knows_tools(template: str) -> bool:
    """Whether a chat template has a place for tools."""
    return re.search(r"\{[%{][^}]*\btools\b", template) is not None


def read_calls(text: str, tools: Collection[str]) -> Said:
    """Take the calls out of an answer.

    Args:
        text: The answer.
        tools: Names that may be called; a call of another one stays text.
    """
    marked = _MARKED.findall(text)
    calls = [_call(piece, tools) for piece in marked]
    if marked and all(calls):
        return Said(_MARKED.sub("", text).strip(), [call for call in calls if call])
    alone = _call(text, tools)
    return Said("", [alone]) if alone else Said(text, [])


def _call(text: str, tools: Collection[str]) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("name") not in tools:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if not isinstance(arguments, dict):
        return None
    function = {"name": value["name"], "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}
