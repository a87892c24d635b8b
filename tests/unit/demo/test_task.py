from __future__ import annotations

from luthier.demo.questions import training_questions
from luthier.demo.task import ShopSql, example_questions


def test_reference_queries_are_right_however_they_are_presented() -> None:
    task = ShopSql(40)
    for row in task.rows():
        for answer in (row.reference, f"Sure!\n```sql\n{row.reference};\n```\nThis works.", f"{row.reference};"):
            assert task.scorer.score(row, answer).value == 1.0


def test_rows_hold_the_question_alone() -> None:
    rows = ShopSql().rows()
    assert len(rows) == len({row.id for row in rows}) == 120
    for row in rows:
        assert [m.role for m in row.messages] == ["system", "user"]
        assert row.slices.keys() == {"kind", "conditions", "tables"}


def test_examples_cover_the_families_and_come_from_training() -> None:
    chosen = example_questions()
    assert {q.kind for q in chosen} == {"list", "count", "aggregate", "group", "order", "join"}
    assert set(chosen) <= set(training_questions())
    messages = ShopSql().few_shot()
    assert [m.role for m in messages] == ["user", "assistant"] * len(chosen)
    assert [m.content for m in messages[::2]] == [q.text for q in chosen]
    assert [m.content for m in messages[1::2]] == [f"{q.sql};" for q in chosen]


def test_examples_bring_no_value_of_a_heldout_question() -> None:
    values = {value for q in example_questions() for value in q.values}
    asked = " ".join(row.messages[-1].content for row in ShopSql().rows())
    assert values
    for _, said in values:
        if not said.isdigit():
            assert said not in asked
