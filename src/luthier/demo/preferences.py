"""The demo's data for objectives other than imitation, from the same questions: pairs, labelled answers and running text.

A wrong answer is the query of another question of the same shape: it looks right, and only the question tells that it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from luthier.demo.database import schema_text
from luthier.demo.questions import NUM_TRAINING, Question, training_questions
from luthier.demo.shop import system_prompt

QUESTIONS_PER_PAGE = 8


def preference_rows(count: int = NUM_TRAINING) -> list[dict[str, Any]]:
    """Pairs: the query that answers the question, and one that answers another."""
    return [
        {"prompt": _prompt(question), "chosen": _answer(question.sql), "rejected": _answer(wrong)}
        for question, wrong in _with_wrong(training_questions(count))
    ]


def labelled_rows(count: int = NUM_TRAINING) -> list[dict[str, Any]]:
    """One answer to each question, right and wrong ones in turn."""
    return [
        {
            "prompt": _prompt(question),
            "completion": _answer(wrong if number % 2 else question.sql),
            "label": number % 2 == 0,
        }
        for number, (question, wrong) in enumerate(_with_wrong(training_questions(count)))
    ]


def text_rows(count: int = NUM_TRAINING) -> list[dict[str, Any]]:
    """Pages of a handbook: the tables, then questions with their queries."""
    questions = training_questions(count)
    pages = [questions[i : i + QUESTIONS_PER_PAGE] for i in range(0, len(questions), QUESTIONS_PER_PAGE)]
    return [
        {
            "text": f"Queries on the shop's database, page {number}\n\n{schema_text()}\n\n"
            + "\n\n".join(f"{question.text}\n{question.sql};" for question in page)
        }
        for number, page in enumerate(pages, start=1)
    ]


def _with_wrong(questions: list[Question]) -> Iterator[tuple[Question, str]]:
    """Each question with the query of the next one of its shape that has another; of its kind where the shape has one only."""
    for place, question in enumerate(questions):
        following = [*questions[place + 1 :], *questions[:place]]
        others = [other for other in following if other.sql != question.sql]
        shape = question.combination.partition(" | ")[0]
        alike = (other for other in others if other.combination.partition(" | ")[0] == shape)
        same_kind = (other for other in others if other.kind == question.kind)
        yield question, next(alike, next(same_kind, others[0])).sql


def _prompt(question: Question) -> list[dict[str, str]]:
    return [{"role": "system", "content": system_prompt()}, {"role": "user", "content": question.text}]


def _answer(sql: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": sql}]
