from __future__ import annotations

from luthier.evaluation.overlap import TrainingIndex
from luthier.evaluation.protocol import TaskRow
from luthier.types import Conversation, Document, Message, Source

LONG = "the quick brown fox jumps over the lazy dog near the old river bank at dawn"


def _row(row_id: str, question: str, answer: str = "no") -> TaskRow:
    return TaskRow(row_id, (Message("system", "Be brief."), Message("user", question)), answer)


def _learnt(question: str, answer: str, line: int) -> Conversation:
    return Conversation((Message("user", question), Message("assistant", answer)), source=Source("train.jsonl", line))


def test_equal_near_and_with_a_run_in_common() -> None:
    index = TrainingIndex(
        [
            _learnt("What is the capital of France?", "Paris", 1),
            _learnt(f"Tell me a story about {LONG} and nothing else please", "…", 2),
            _learnt("Something else entirely", LONG + " once more", 3),
        ]
    )
    rows = [
        _row("a", "what is the capital of FRANCE"),
        _row("b", "What is the capital of Spain?"),
        _row("c", f"Tell me a story about {LONG} and nothing else"),
        _row(
            "d", "Who?", LONG + " and then twenty other words follow so that the answers are not alike any more at all"
        ),
    ]
    found = index.overlap(rows)
    assert {rows[number].id: match.kind for number, match in found.matches.items()} == {"a": "equal", "c": "near"}
    assert {rows[number].id: match.kind for number, match in found.alike.items()} == {"d": "run"}
    assert found.ids == ("a", "c")
    assert found.clean_rows(4) == [1, 3]
    assert str(found.matches[0].source) == "train.jsonl:1"
    assert found.to_json()["kinds"] == {"equal": 1, "near": 1}
    assert found.to_json()["num_alike"] == 1
    assert found.sentence("t", 4).startswith(
        "t: 2 of 4 rows are in the training data too (1 equal, 1 nearly equal), so"
    )
    assert found.alike_sentence("t", 4).startswith("t: 1 of 4 rows share a long run of words")


def test_running_text_is_compared_as_text() -> None:
    index = TrainingIndex([Document(LONG, Source("book.txt", 1))])
    assert index.overlap([TaskRow("a", (), LONG), TaskRow("b", (), "Other words.")]).ids == ("a",)


def test_nothing_in_common_says_nothing() -> None:
    found = TrainingIndex([_learnt("One?", "1", 1)]).overlap([_row("a", "Two?")])
    assert found.alike_sentence("t", 1) == ""
    assert (found.sentence("t", 1), found.to_json()["num_rows"], found.num_training_rows) == ("", 0, 1)


def test_an_instruction_in_front_of_every_question_is_no_overlap() -> None:
    """More than ten rows share it, so it says nothing."""
    start = "Answer the following question about the shop in one short sentence without any explanation at all: "
    index = TrainingIndex([_learnt(f"{start}item number {i * 7919}?", "x", i) for i in range(30)])
    assert index.overlap([_row(str(i), f"{start}customer {i * 104729} of what?") for i in range(30)]).ids == ()
