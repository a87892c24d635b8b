"""Finds: preference pairs whose chosen and rejected answer are the same, but for spacing.

Hurts: there is nothing to prefer. The pair costs as much as any other, gives no gradient, and holds the accuracy on
pairs down.
Do: remove them; where they come from sampling the same model twice, sample at a higher temperature.
"""

from __future__ import annotations

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule
from luthier.types import Message


def _judge(row: LintRow) -> str | None:
    pair = row.pair
    if pair is None or not is_identical(pair.chosen, pair.rejected):
        return None
    return "\n".join(m.content for m in pair.chosen)


def is_identical(one: tuple[Message, ...], other: tuple[Message, ...]) -> bool:
    """Whether two answers differ in spacing alone."""
    return len(one) == len(other) and all(
        a.role == b.role
        and a.tool_calls == b.tool_calls
        and (a.content == b.content or a.content.split() == b.content.split())
        for a, b in zip(one, other, strict=True)
    )


RULE: Rule = RowRule(
    name="identical_pair",
    severity="warning",
    kinds=frozenset({"preference"}),
    looks_at="chosen and rejected answers",
    judge=_judge,
    says="{rows} {have} a chosen answer that equals the rejected one: there is nothing to prefer.",
    fix="Remove them.",
)
