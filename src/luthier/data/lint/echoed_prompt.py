"""Finds: answers that begin by repeating the question.

Hurts: the model learns to repeat what it is asked; usually the completion column holds prompt and answer together.
Do: cut the prompt from the answer.
"""

from __future__ import annotations

from luthier.data.content import normalised
from luthier.data.lint.row import SPOKEN, LintRow
from luthier.data.lint.rule import RowRule, Rule

_LEAST_WORDS = 5
_LEAST_CHARACTERS = 25


def _judge(row: LintRow) -> str | None:
    for asked, answer in zip(row.messages, row.messages[1:], strict=False):
        if asked.role != "user" or answer.role != "assistant" or not answer.is_trained:
            continue
        if begins_with(answer.content, asked.content):
            return answer.content
    return None


def begins_with(answer: str, prompt: str) -> bool:
    """Whether an answer opens with a whole question, but for case and punctuation, and goes on after it."""
    if not _LEAST_CHARACTERS <= len(prompt) < len(answer):
        return False
    head = answer.lstrip(" \n\t*#>\"'").casefold()
    if prompt.lstrip()[:4].casefold() != head[:4]:  # cheap: most answers end here
        return False
    words = normalised(prompt)
    if len(words.split()) < _LEAST_WORDS:
        return False
    said = normalised(answer)
    return said.startswith(words + " ")


RULE: Rule = RowRule(
    name="echoed_prompt",
    severity="warning",
    kinds=SPOKEN,
    looks_at="the beginnings of answers",
    judge=_judge,
    says="{rows} {have} an answer that begins by repeating its question: the model learns to repeat what it is asked.",
    fix="Cut the question from the answer; often the completion column holds both.",
)
