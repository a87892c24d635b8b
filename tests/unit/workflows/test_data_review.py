"""A review from the sample to the rows that come out of it, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.errors import DataError, InputError
from luthier.workflows.data_apply import data_apply
from luthier.workflows.data_review import data_review, decisions_path
from luthier.workflows.data_undo import data_undo

ROWS = [
    {
        "id": i,
        "question": f"What is number {i} of the {word} list?",
        "answer": f"It is {word}, as everyone knows by now.",
    }
    for i, word in enumerate(["red", "green", "blue", "grey", "pink", "gold", "teal", "plum", "rose", "lime"])
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", ROWS)


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    return tmp_path / "in.review.jsonl"


def wish(row: int, verdict: str, note: str = "", **after: str) -> dict[str, Any]:
    edits = [{"path": [column], "after": text} for column, text in after.items()]
    return {"row": row, "verdict": verdict, "note": note, "edits": edits}


def test_decisions_are_applied_and_undone(source, decisions, tmp_path):
    session = data_review([source], decisions)
    assert len(session.content()["rows"]) == 10
    session.decide(wish(2, "drop", " no such list "))
    session.decide(wish(3, "keep", "look again"))
    session.decide(wish(5, "fix", answer="It is pink."))
    session.decide(wish(6, "drop"))
    session.decide(wish(7, "drop"))
    session.undo()
    out = tmp_path / "out.jsonl"
    result = data_apply([source], decisions, out)
    fixed = {**ROWS[4], "answer": "It is pink."}
    assert read(out) == [ROWS[0], ROWS[2], ROWS[3], fixed, *ROWS[6:]]
    untouched = [line for line in source.read_text().splitlines() if json.loads(line)["id"] not in (1, 4, 5)]
    assert all(line in out.read_text().splitlines() for line in untouched)
    place = {"row": 5, "source": f"{source}:5", "rule": "review", "path": ["answer"]}
    lines = read(tmp_path / "out.ledger.jsonl")
    assert {**place, "before": ROWS[4]["answer"], "after": "It is pink."} in lines
    assert [(e["number"], e["rule"], e["reason"], e["row"]) for e in read(tmp_path / "out.dropped.jsonl")] == [
        (2, "review", "no such list", ROWS[1]),
        (6, "review", "dropped in review", ROWS[5]),
    ]
    assert (result.num_kept, result.num_fixed, result.num_undecided) == (8, 1, 6)
    assert result.notes == {f"{source}:3": "look again"}
    data_undo(out, tmp_path / "back.jsonl")
    assert (tmp_path / "back.jsonl").read_text() == source.read_text()
    assert read(source) == ROWS


def test_a_review_goes_on_where_it_was(source, decisions):
    first = data_review([source], decisions, num_rows=4)
    rows = [row["number"] for row in first.content()["rows"]]
    first.decide(wish(rows[1], "drop", "bad"))
    again = data_review([source], decisions)
    assert [row["number"] for row in again.content()["rows"]] == rows
    assert again.content()["rows"][1]["decision"]["note"] == "bad"
    assert again.summary().counts["drop"] == 1
    with pytest.raises(InputError, match="is a review of 4 rows that goes on"):
        data_review([source], decisions, num_rows=5)


def test_other_data_than_were_reviewed_are_refused(source, decisions, tmp_path):
    session = data_review([source], decisions)
    session.decide(wish(4, "drop"))
    changed = [dict(row) for row in ROWS]
    changed[3]["answer"] = "Something else."
    write(source, changed)
    for act in (
        lambda: data_review([source], decisions),
        lambda: data_apply([source], decisions, tmp_path / "o.jsonl"),
    ):
        with pytest.raises(DataError, match=r"in\.jsonl:4 is not the row"):
            act()
    write(source, [*ROWS, ROWS[0]])
    for act in (
        lambda: data_review([source], decisions),
        lambda: data_apply([source], decisions, tmp_path / "o.jsonl"),
    ):
        with pytest.raises(DataError, match="11"):
            act()
    assert not list(tmp_path.glob("o.*"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (wish(99, "keep"), "no such row"),
        ({**wish(1, "keep"), "row": True}, "no such row"),
        (wish(1, "burn"), "verdict"),
        (wish(1, "fix"), "nothing to fix"),
        (wish(1, "fix", answer=ROWS[0]["answer"]), "nothing to fix"),
        (wish(1, "fix", id="7"), "names a text of the row"),
        ({**wish(1, "fix"), "edits": [{"path": [["answer"]], "after": "x"}]}, "names a text of the row"),
        ({**wish(1, "fix"), "edits": [{"path": ["answer"], "after": 3}]}, "names a text of the row"),
        ({**wish(1, "fix"), "edits": [{"path": ["answer"], "after": "half \ud83d"}]}, "names a text of the row"),
        ({**wish(1, "fix"), "edits": "answer"}, "nothing to fix"),
        (wish(1, "fix", question=""), "would not fit"),
        (wish(1, "keep", "x" * 4001), "4,000"),
        ({**wish(1, "keep"), "note": 3}, "note"),
        ([], "object"),
        (None, "object"),
    ],
)
def test_what_is_no_decision_is_refused_and_not_saved(source, decisions, given, expected):
    session = data_review([source], decisions)
    before = decisions.read_bytes()
    with pytest.raises(InputError, match=expected):
        session.decide(given)
    assert decisions.read_bytes() == before


def test_a_row_that_does_not_fit_can_be_dropped_or_fixed(tmp_path):
    calls = [{"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    messages = [{"role": "user", "content": "q?"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    rows = [*ROWS, {"id": 11, "question": "", "answer": "x"}, {"id": 12}]
    source = write(tmp_path / "in.jsonl", rows)
    session = data_review([source], tmp_path / "d.jsonl")
    shown = {row["number"]: row for row in session.content()["rows"]}
    assert shown[11]["findings"][0]["rule"] == "row_does_not_fit"
    assert "question" in shown[11]["findings"][0]["message"]
    session.decide(wish(11, "fix", question="What is x?"))
    session.decide(wish(12, "drop"))
    data_apply([source], tmp_path / "d.jsonl", tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")[-1]["question"] == "What is x?"
    source = write(tmp_path / "calls.jsonl", [{"messages": messages}])
    session = data_review([source], tmp_path / "c.jsonl")
    path = ["messages", 1, "tool_calls", 0, "function", "arguments"]
    with pytest.raises(InputError, match="no JSON"):
        session.decide({**wish(1, "fix"), "edits": [{"path": path, "after": '{"a": '}]})


def test_findings_are_shown_with_what_was_seen(tmp_path):
    source = write(
        tmp_path / "in.jsonl", [*ROWS, {"id": 11, "question": "Who?", "answer": "As an AI language model, I cannot."}]
    )
    shown = {row["number"]: row for row in data_review([source], tmp_path / "d.jsonl").content()["rows"]}
    assert any(f["rule"] == "boilerplate" and "As an AI" in f["message"] for f in shown[11]["findings"])
    assert shown[1]["rest"] == '{\n  "id": 0\n}'


@pytest.mark.parametrize(
    ("row", "edit", "texts"),
    [
        ({"text": "How nice", "label": 1}, "text", ["How nice"]),
        ({"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}, "rejected", ["Hi?", "Hello.", "No."]),
        ({"prompt": "Hi?", "completion": "Hello.", "label": True}, "completion", ["Hi?", "Hello."]),
        ({"text": "A long text about rivers."}, "text", ["A long text about rivers."]),
    ],
)
def test_all_kinds_of_rows_can_be_reviewed(tmp_path, row, edit, texts):
    rows = [{**row, "note": str(i)} for i in range(3)]
    source = write(tmp_path / "in.jsonl", rows)
    session = data_review([source], tmp_path / "d.jsonl")
    shown = session.content()["rows"]
    assert [text["text"] for text in shown[0]["texts"]] == texts
    session.decide(wish(2, "fix", **{edit: "Something else."}))
    session.close()
    data_apply([source], tmp_path / "d.jsonl", tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl") == [rows[0], {**rows[1], edit: "Something else."}, rows[2]]


def test_where_decisions_are_kept(tmp_path):
    write(tmp_path / "rows.jsonl", ROWS)
    assert decisions_path(str(tmp_path / "rows.jsonl")) == tmp_path / "rows.review.jsonl"
    with pytest.raises(InputError, match="--out"):
        decisions_path(str(tmp_path))


def test_apply_on_the_command_line(source, decisions, tmp_path, capsys):
    data_review([source], decisions).decide(wish(2, "drop", "why"))
    assert main(["data", "apply", str(source), str(decisions), str(tmp_path / "out.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "9 of 10 rows" in shown
    assert shown.splitlines()[-1] == f"Next: luthier data check {tmp_path / 'out.jsonl'}"
    assert main(["data", "apply", str(source), str(source), str(tmp_path / "o2.jsonl"), "--json"]) == 2
    assert "holds no decisions" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main(["data", "review", str(source), "--rows", "0"]) == 2
    assert "50 to 100" in capsys.readouterr().err
