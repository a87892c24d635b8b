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
    task = HeldOut(rows, [], 9)
    assert len(task.rows()) == MOST_ROWS
    assert [row.id for row in task.rows()] == [row.id for row in HeldOut(rows[::-1], [], 9).rows()]
    for row in task.rows():
        assert [m.role for m in row.messages] == ["system", "user"]
        assert row.reference == f"a{row.question[1:]}"
    assert task.generation.max_new_tokens == 9
    assert task.few_shot() == ()


def test_the_base_model_is_shown_learnt_rows_and_never_asked_ones() -> None:
    learnt = [_row(i, f"a{i}") for i in range(500, 520)]
    long, talk = _row(600, "x" * 2000), Conversation((*_row(601).messages, *_row(602).messages[1:]))
    task = HeldOut([_row(1)], [long, talk, Document("text"), *learnt], 9)
    shown = task.few_shot()
    assert [m.role for m in shown] == ["user", "assistant"] * 4
    questions = [m.content for m in shown[::2]]
    assert len(set(questions)) == 4
    assert {q.removeprefix("q") for q in questions} <= {str(i) for i in range(500, 520)}
    assert [m.content for m in shown[1::2]] == [f"a{q[1:]}" for q in questions]
    assert list(HeldOut([_row(1)], learnt[::-1], 9).few_shot()) == list(shown)


def test_rows_that_cannot_be_asked_are_left_out() -> None:
    unanswered = Conversation((Message("user", "q"),))
    tool = Conversation(_row(1).messages, tools=({"name": "f"},))
    task = HeldOut([Document("text"), unanswered, tool, _row(2, " "), _row(3)], [], 9)
    assert [row.question for row in task.rows()] == ["q3"]
    with pytest.raises(DataError, match="kept back no conversations"):
        HeldOut([Document("text")], [], 9)
