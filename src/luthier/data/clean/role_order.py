"""Neighbours of one role become one turn, with a blank line between, and what follows the last answer is taken away.

Only plain turns are joined: equal in everything but what they say. An answer before any question, or a system message in the
middle, needs somebody who knows what was meant: such rows stay, and are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from luthier.data.clean.repair import Edit, Mend, RepairRow, found_by
from luthier.data.lint.role_order import RULE
from luthier.data.messages import OPENAI_ROLES, SHAREGPT_ROLES
from luthier.data.text_places import MESSAGE_LISTS

_JOINED = ("system", "user", "assistant")


def _edits(row: RepairRow) -> Iterator[Edit]:
    if not row.lint.messages:
        return
    parts = {column: part for part, column in row.columns.items()}
    for column, value in row.values.items():
        is_read = column not in row.file.unused and parts.get(column, column) in MESSAGE_LISTS
        if is_read and isinstance(value, list):
            ordered = in_order(value)
            if ordered != value:
                yield Edit((column,), ordered)


def in_order(items: Sequence[Any]) -> list[Any]:
    """Messages in OpenAI's or ShareGPT's spelling, joined, without what follows the last answer."""
    joined: list[Any] = []
    for item in items:
        both = _joined(joined[-1], item) if joined else None
        if both is None:
            joined.append(item)
        else:
            joined[-1] = both
    last = max((index for index, item in enumerate(joined) if _role(item) == "assistant"), default=len(joined))
    return joined[: last + 1]


def _role(item: Any) -> str | None:
    roles, key = (OPENAI_ROLES, "role") if "role" in item else (SHAREGPT_ROLES, "from")
    return roles.get(item.get(key))


def _joined(before: Any, after: Any) -> Any | None:
    """Both as one message; None where they are not to be joined."""
    key = "content" if "role" in before else "value"
    if before.keys() != after.keys() or _role(before) not in _JOINED or before.get("from") == "function_call":
        return None
    if not (isinstance(before.get(key), str) and isinstance(after.get(key), str)):
        return None
    if before.get("tool_calls") or any(before[name] != after[name] for name in before if name != key):
        return None
    texts = [text for text in (before[key].rstrip(), after[key].lstrip()) if text]
    return {**before, key: "\n\n".join(texts)}


REPAIR = Mend(
    "role_order",
    "join neighbours of one role, drop what follows the last answer",
    False,
    lambda _: _edits,
    found_by(RULE),
)
