"""What judging takes, before anybody is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from luthier.data.asking import Question
from luthier.data.generation.making import prompt_tokens
from luthier.generate.journal import Journal

_LIKELY_TOKENS = 80


@dataclass(frozen=True)
class JudgingEstimate:
    """Questions and tokens that are not in the journal yet.

    Attributes:
        num_questions: All; a verdict that makes no sense is asked for once more.
        num_known: Of these, answered before.
        prompt_tokens: Of the others, about; 4 Latin characters each.
        answer_tokens: About.
        answer_tokens_most: With the longest verdicts.
        cost: About, at the prices given; None without prices.
        cost_most: With the longest verdicts.
    """

    num_questions: int
    num_known: int
    prompt_tokens: int
    answer_tokens: int
    answer_tokens_most: int
    cost: float | None = None
    cost_most: float | None = None


def estimate_judging(
    questions: Iterable[Question], judge: str, journal: Journal, prices: tuple[float, float] | None
) -> JudgingEstimate:
    """Reckon.

    Args:
        questions: All that are to be asked.
        judge: Name of the judge in the journal.
        journal: What is known.
        prices: Of a million tokens of questions and of answers.
    """
    num_questions = num_known = prompt = most = 0
    for question in questions:
        num_questions += 1
        if journal.find(judge, question) is not None:
            num_known += 1
            continue
        prompt += prompt_tokens(question)
        most += question.max_tokens
    answers = min(most, _LIKELY_TOKENS * (num_questions - num_known))
    costs = [None if prices is None else (prompt * prices[0] + said * prices[1]) / 1e6 for said in (answers, most)]
    return JudgingEstimate(num_questions, num_known, prompt, answers, most, *costs)
