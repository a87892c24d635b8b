"""Finds: answers without text (and without a tool call).

Hurts: they teach the model to end its turn at once.
Do: remove the rows, unless silence is the right answer.
"""

from __future__ import annotations

from luthier.data.lint.row import SPOKEN, LintRow
from luthier.data.lint.rule import RowRule, Rule
from luthier.types import Message


def _judge(row: LintRow) -> str | None:
    empty = any(map(is_empty_answer, row.messages))
    return (row.prompts or "(no prompt)") if empty else None


def is_empty_answer(message: Message) -> bool:
    """Whether a turn of the assistant that is learnt says nothing and calls nothing."""
    return message.role == "assistant" and message.is_trained and not message.content.strip() and not message.tool_calls


RULE: Rule = RowRule(
    name="empty_answer",
    severity="warning",
    kinds=SPOKEN,
    looks_at="assistant turns",
    judge=_judge,
    says="{rows} {have} an answer without text: they teach the model to end its turn at once.",
    fix="Remove them, unless that is meant.",
)
