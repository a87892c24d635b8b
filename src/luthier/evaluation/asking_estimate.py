"""What asking a model takes, before it is asked: a judge, or a contender behind an endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from luthier.data.asking import Question
from luthier.data.generation.making import prompt_tokens
from luthier.generate.journal import Journal

LIKELY_TOKENS = 80
"""Of a verdict."""


@dataclass(frozen=True)
class AskingEstimate:
    """Questions and tokens that are not in the journal yet.

    Attributes:
        num_questions: All; a judge is asked once more for a verdict that makes no sense.
        num_known: Of these, answered before.
        prompt_tokens: Of the others, about; 4 Latin characters each.
        answer_tokens: About.
        answer_tokens_most: With the longest answers.
        cost: About, at the prices given; None without prices.
        cost_most: With the longest answers.
    """

    num_questions: int
    num_known: int
    prompt_tokens: int
    answer_tokens: int
    answer_tokens_most: int
    cost: float | None = None
    cost_most: float | None = None


def estimate_asking(
    questions: Iterable[Question],
    model: str,
    journal: Journal,
    prices: tuple[float, float] | None,
    likely_tokens: int = LIKELY_TOKENS,
) -> AskingEstimate:
    """Reckon.

    Args:
        questions: All that are to be asked.
        model: Its name in the journal.
        journal: What is known.
        prices: Of a million tokens of questions and of answers.
        likely_tokens: Of one answer.
    """
    num_questions = num_known = prompt = most = 0
    for question in questions:
        num_questions += 1
        if journal.find(model, question) is not None:
            num_known += 1
            continue
        prompt += prompt_tokens(question)
        most += question.max_tokens
    answers = min(most, likely_tokens * (num_questions - num_known))
    costs = [None if prices is None else (prompt * prices[0] + said * prices[1]) / 1e6 for said in (answers, most)]
    return AskingEstimate(num_questions, num_known, prompt, answers, most, *costs)
