"""Rows that were kept back, as a task."""

from __future__ import annotations

import pytest

from luthier.errors import DataError
from luthier.evaluation.tasks.held_out import MOST_ROWS, HeldOut
from luthier.types import Conversation, Document, Message


def _row(number: int, answer: str = "yes") -> Conversation:
    return Conversation((Message("system", "s"), Message("user", f"q{number}"), Message("assistant", answer)))


def test_the_last_answer_is_the_reference_and_the_order_does_not_matter() -> None:
    rows = [_row(i, f"a{i}") for i in range(300)]
    task = HeldOut(rows, 9)
    assert len(task.rows()) == MOST_ROWS
    assert [row.id for row in task.rows()] == [row.id for row in HeldOut(rows[::-1], 9).rows()]
    for row in task.rows():
        assert [m.role for m in row.messages] == ["system", "user"]
        assert row.reference == f"a{row.question[1:]}"
    assert task.generation.max_new_tokens == 9
    assert task.few_shot() == ()


def test_rows_that_cannot_be_asked_are_left_out() -> None:
    unanswered = Conversation((Message("user", "q"),))
    tool = Conversation(_row(1).messages, tools=({"name": "f"},))
    task = HeldOut([Document("text"), unanswered, tool, _row(2, " "), _row(3)], 9)
    assert [row.question for row in task.rows()] == ["q3"]
    with pytest.raises(DataError, match="kept back no conversations"):
        HeldOut([Document("text")], 9)
