"""Decisions survive what happens to processes and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.data.review.decisions import DecisionFile, ReviewHead, RowDecision, TextEdit
from luthier.data.review.sample import SampledRow
from luthier.errors import DataError, InputError

HEAD = ReviewHead(
    ("in.jsonl",), "auto", {}, 9, {"no finding": 9}, tuple(SampledRow(n, "00", "no finding", ()) for n in (1, 4, 7))
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.review.jsonl"


def verdicts(file: DecisionFile) -> dict[int, str]:
    return {row: decision.verdict for row, decision in file.decisions.items()}


def test_what_is_added_is_read_again(path):
    file = DecisionFile.create(path, HEAD)
    edit = TextEdit(("messages", 1, "content"), "a\u2028b", "c\nd\x85")
    file.add(RowDecision(4, "fix", "better", (edit,)))
    # Read by another process while this one is open: nothing waits in a buffer.
    again = DecisionFile.open(path)
    assert again.head == HEAD
    assert again.decisions[4].edits == (edit,)
    assert again.decisions[4].note == "better"


def test_the_last_decision_counts_and_undo_goes_back_one_by_one_also_after_a_restart(path):
    file = DecisionFile.create(path, HEAD)
    for row, verdict in ((1, "keep"), (4, "drop"), (1, "drop")):
        file.add(RowDecision(row, verdict))
    file.close()
    file = DecisionFile.open(path)
    assert verdicts(file) == {1: "drop", 4: "drop"}
    undone = file.undo()
    assert undone is not None
    assert (undone.row, undone.verdict) == (1, "keep")
    file.close()
    file = DecisionFile.open(path)
    assert verdicts(file) == {1: "keep", 4: "drop"}
    file.undo()
    file.undo()
    assert set(verdicts(file).values()) == {"undecided"}
    assert file.undo() is None
    assert not file.can_undo


def test_a_line_that_was_cut_off_is_not_there_and_does_not_spoil_the_next(path):
    file = DecisionFile.create(path, HEAD)
    file.add(RowDecision(1, "keep"))
    file.close()
    with path.open("ab") as raw:
        raw.write(b'{"row": 4, "verdict": "dr')
    file = DecisionFile.open(path)
    assert verdicts(file) == {1: "keep"}
    file.add(RowDecision(7, "drop"))
    file.close()
    assert verdicts(DecisionFile.open(path)) == {1: "keep", 7: "drop"}
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"question": "x", "answer": "y"}\n', "holds no decisions"),
        ("no json\n", "holds no decisions"),
        ("", "holds no decisions"),
        ("[1]\n", "holds no decisions"),
    ],
)
def test_another_file_is_refused(path, content, expected):
    path.write_text(content)
    with pytest.raises(DataError, match=expected):
        DecisionFile.open(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"row": 2, "verdict": "keep", "note": "", "edits": [], "at": ""}',
        '{"row": 1, "verdict": "burn", "note": "", "edits": [], "at": ""}',
        '{"row": 1}',
        "3",
    ],
)
def test_a_changed_line_is_refused_with_its_number(path, line):
    DecisionFile.create(path, HEAD)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=":2: no decision"):
        DecisionFile.open(path)


def test_nothing_is_overwritten(path, tmp_path):
    DecisionFile.create(path, HEAD)
    with pytest.raises(InputError, match="not overwritten"):
        DecisionFile.create(path, HEAD)
    with pytest.raises(InputError, match=r"\.jsonl"):
        DecisionFile.create(tmp_path / "x.txt", HEAD)
    with pytest.raises(InputError, match="There is no folder"):
        DecisionFile.create(tmp_path / "no" / "x.jsonl", HEAD)
