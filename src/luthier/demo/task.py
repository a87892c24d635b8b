"""The demo's task: held-out questions about the shop, judged by executing the SQL."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.demo.database import build_database
from luthier.demo.questions import NUM_HELDOUT, Question, heldout_questions, training_questions
from luthier.demo.shop import system_prompt
from luthier.evaluation.protocol import Generation, Scorer, TaskRow
from luthier.evaluation.scorers.sql_execution import SqlExecution
from luthier.types import Message

EXAMPLE_SHAPES = (
    "product names",
    "count orders",
    "average price",
    "number of customers per city",
    "cities with many customers",
    "cheapest products",
    "count orders by customers",
    "orders per city",
)
"""One or two worked examples of each family. Chosen for the base model's good: on held-out questions that the demo does not
ask, this set did as well as twelve examples and better than six, or examples with two conditions, or twenty."""


class ShopSql:
    """Text-to-SQL over the shop. The few-shot examples come from the training questions.

    Args:
        num_rows: Held-out questions asked.
    """

    name = "shop-sql"
    generation = Generation(max_new_tokens=80)

    def __init__(self, num_rows: int = NUM_HELDOUT) -> None:
        self.scorer: Scorer = SqlExecution(build_database)
        self._num_rows = num_rows

    def rows(self) -> Sequence[TaskRow]:
        """The held-out questions."""
        system = Message("system", system_prompt())
        return [
            TaskRow(
                id=f"shop-{number:03d}",
                messages=(system, Message("user", question.text)),
                reference=question.sql,
                slices=question.slices,
            )
            for number, question in enumerate(heldout_questions(self._num_rows), start=1)
        ]

    def few_shot(self) -> Sequence[Message]:
        """Training questions with their answers; the semicolon helps the base model to find the end."""
        messages: list[Message] = []
        for question in example_questions():
            messages += [Message("user", question.text), Message("assistant", f"{question.sql};")]
        return messages


def example_questions() -> list[Question]:
    """The first training question with one condition of each of `EXAMPLE_SHAPES`."""
    single = [question for question in training_questions() if question.slices["conditions"] == "1"]
    return [next(q for q in single if q.combination.startswith(f"{shape} | ")) for shape in EXAMPLE_SHAPES]
