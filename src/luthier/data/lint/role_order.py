"""Finds: turns in an order that no conversation has: an answer before any question, two questions or two answers in a
row, a system message in the middle, a tool's result without a call, a question at the end.

Hurts: many chat templates refuse such rows or render them wrong; a model learns to answer itself, or to ask the user's
question.
Do: join neighbours of one role, move system messages to the front, drop what follows the last answer.
"""

from __future__ import annotations

from luthier.data.lint.row import SPOKEN, LintRow
from luthier.data.lint.rule import RowRule, Rule
from luthier.types import Message


def _judge(row: LintRow) -> str | None:
    messages = row.messages
    if not messages:
        return None
    return next((wrong for i in range(len(messages)) if (wrong := _wrong_at(messages, i))), None) or _wrong_end(
        messages[-1]
    )


def _wrong_at(messages: tuple[Message, ...], index: int) -> str | None:
    role = messages[index].role
    before = messages[index - 1] if index else None
    if role == "system":
        return None if before is None else f"turn {index + 1} is a system message"
    last = None if before is None or before.role == "system" else before.role
    if role == "tool":
        is_answered = last == "tool" or (before is not None and last == "assistant" and _may_call(before))
        return None if is_answered else f"turn {index + 1} is a tool's result without a call"
    if role == "assistant" and last is None:
        return "the assistant speaks first"
    if role == last and not (role == "assistant" and before is not None and before.tool_calls):
        return f"turns {index} and {index + 1} are both {role}"
    return None


def _may_call(message: Message) -> bool:
    """Calls may also be written into the text, in a form of the model's own."""
    return bool(message.tool_calls) or "{" in message.content or "<" in message.content


def _wrong_end(message: Message) -> str | None:
    return None if message.role == "assistant" else f"the last turn is the {message.role}'s: nothing of it is learnt"


RULE: Rule = RowRule(
    name="role_order",
    severity="warning",
    kinds=SPOKEN,
    looks_at="the roles of turns, in order",
    judge=_judge,
    says="{rows} {have} turns in an order that a conversation does not have; many chat templates refuse them.",
    fix="Join neighbours of one role, put system messages first, drop what follows the last answer.",
)
