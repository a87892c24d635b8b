"""Rows that an evaluation set has too: what is put aside and why, and that the rest stays as it was."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.errors import DataError, InputError
from luthier.workflows.data_decontaminate import data_decontaminate


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


LONG = " ".join(f"word{i}" for i in range(30))
ROWS = (
    {"question": "What is a luthier?", "answer": "A maker of string instruments.", "id": 1},
    {"question": "Where is Cremona?", "answer": f"So they say: {LONG}", "id": 2},
    {"question": f"Read this: {LONG} and answer", "answer": "Yes", "id": 3},
    {"question": "Who made the Messiah?", "answer": "Stradivari, in 1716.", "id": 4},
)


def test_rows_go_aside_with_the_reason_and_the_row_that_they_meet(tmp_path):
    source = write(tmp_path / "in.jsonl", *ROWS)
    chat = {"messages": [{"role": "user", "content": "what is a LUTHIER"}, {"role": "assistant", "content": "x"}]}
    evaluation = write(tmp_path / "eval.jsonl", chat)
    more = write(tmp_path / "more.jsonl", {"turns": [LONG], "category": "writing"})
    result = data_decontaminate([source], tmp_path / "out.jsonl", [evaluation, more])
    assert read(tmp_path / "out.jsonl") == [ROWS[3]]
    first, second, third = read(tmp_path / "out.dropped.jsonl")
    assert first == {
        "source": f"{source}:1",
        "reason": f"the prompt equals {evaluation}:1",
        "match": {"kind": "equal", "part": "prompt", "source": f"{evaluation}:1", "measure": 1.0},
        "evaluation_row": chat,
        "row": ROWS[0],
    }
    assert (second["match"]["kind"], second["match"]["part"], second["match"]["measure"]) == ("run", "answer", 30)
    # 26 shingles of five words, and 30 in the longer question
    assert (third["match"]["kind"], third["match"]["measure"]) == ("near", round(26 / 30, 4))
    assert (third["row"], third["evaluation_row"]) == (ROWS[2], {"turns": [LONG], "category": "writing"})
    assert result.to_json() == {
        "path": str(tmp_path / "out.jsonl"),
        "dropped": str(tmp_path / "out.dropped.jsonl"),
        "num_read": 4,
        "num_evaluation": 2,
        "num_without_layout": 1,
        "counts": {"equal": 1, "near": 1, "run": 1},
        "num_met": 2,
        "num_kept": 1,
    }


def test_without_runs_only_equality_and_similarity_count(tmp_path):
    source = write(tmp_path / "in.jsonl", *ROWS)
    evaluation = write(tmp_path / "eval.jsonl", {"question": f"{LONG} is it", "answer": "no"})
    result = data_decontaminate([source], tmp_path / "out.jsonl", [evaluation], run_words=None)
    # 30 words and 2 give 28 shingles; row 3 has 34 words, 30 shingles, 26 of them in both: 26 / 32 = 0.81
    assert result.counts == {"equal": 0, "near": 1, "run": 0}
    assert read(tmp_path / "out.jsonl") == [ROWS[0], ROWS[1], ROWS[3]]


def test_refusals_leave_nothing(tmp_path):
    source = write(tmp_path / "in.jsonl", *ROWS)
    with pytest.raises(InputError, match="--against"):
        data_decontaminate([source], tmp_path / "out.jsonl", [])
    with pytest.raises(InputError, match="everyday phrases"):
        data_decontaminate([source], tmp_path / "out.jsonl", [source], run_words=5)
    with pytest.raises(DataError, match="no such file"):
        data_decontaminate([source], tmp_path / "out.jsonl", [tmp_path / "none.jsonl"])
    with pytest.raises(DataError, match="no text"):
        data_decontaminate([source], tmp_path / "out.jsonl", [write(tmp_path / "e.jsonl", {"a": 1})])
    unfit = write(tmp_path / "unfit.jsonl", *ROWS, {"question": "q", "answer": 3})
    with pytest.raises(DataError, match=r"unfit\.jsonl:5: answer must be text"):
        data_decontaminate([unfit], tmp_path / "out.jsonl", [source])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.jsonl", "in.jsonl", "unfit.jsonl"]


def test_the_command_says_what_happened(tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", *ROWS)
    evaluation = write(tmp_path / "eval.jsonl", ROWS[0])
    out = tmp_path / "out.jsonl"
    assert main(["data", "decontaminate", str(source), str(out), "--against", str(evaluation)]) == 0
    shown = capsys.readouterr().out
    assert "3 of 4 rows" in shown
    assert "1 rows that 1 of 1 evaluation rows have too (1 equal, 0 nearly, 0 by a run of words)" in shown
    assert shown.splitlines()[-1] == f"Next: luthier data check {out}"
    again = ["data", "decontaminate", str(source), str(tmp_path / "o.jsonl"), "--against", str(evaluation), "--json"]
    assert main(again) == 0
    assert json.loads(capsys.readouterr().out)["num_kept"] == 3


def test_known_overlap_of_a_real_data_set_is_found(tmp_path, shared_data):
    rows = {
        name: [json.loads(line) for line in (shared_data / f"derived/wikisql_{name}.jsonl").open()]
        for name in ("train10k", "dev1k")
    }
    parts = {n: [{"question": r["question"], "answer": r["sql"]} for r in own] for n, own in rows.items()}
    known = {row["question"] for row in parts["dev1k"]}
    parts["train10k"] = [row for i, row in enumerate(parts["train10k"]) if i < 1000 or row["question"] in known]
    source, evaluation = (write(tmp_path / f"{name}.jsonl", *own) for name, own in parts.items())
    data_decontaminate([source], tmp_path / "out.jsonl", [evaluation])
    shared = [row["question"] for row in parts["train10k"] if row["question"] in known]
    dropped = read(tmp_path / "out.dropped.jsonl")
    found = Counter(entry["row"]["question"] for entry in dropped if entry["match"]["part"] == "prompt")
    assert shared
    assert all(found[question] for question in shared)
    assert not known.intersection(row["question"] for row in read(tmp_path / "out.jsonl"))
