"""clean and undo as files: what is written, that nothing is lost, and what is refused when files were changed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.errors import DataError, InputError
from luthier.workflows import data_clean as module
from luthier.workflows.data_clean import data_clean
from luthier.workflows.data_redact import data_redact
from luthier.workflows.data_undo import data_undo
from tests.tiny import save_tiny_model


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


ROWS = (
    {"id": 1, "question": "schÃ¶n?", "answer": " ja \n", "note": " stays "},
    {"id": 2, "question": "leer?", "answer": ""},
    {"id": 3, "question": "gut?", "answer": "ja"},
    {"id": 4, "question": "gut?", "answer": "ja "},
    {"id": 5, "question": "lost?", "answer": "caf\ufffd"},
)


def test_rows_ledger_and_dropped_rows(tmp_path):
    source = write(tmp_path / "in.jsonl", *ROWS)
    result = data_clean([source], tmp_path / "out.jsonl")
    assert read(source) == list(ROWS)
    assert read(tmp_path / "out.jsonl") == [
        {"id": 1, "question": "schön?", "answer": "ja", "note": " stays "},
        ROWS[2],
        ROWS[4],
    ]
    head, *lines, hashes, end = read(tmp_path / "out.ledger.jsonl")
    assert head == {"kind": "luthier data ledger", "version": 1}
    place = {"row": 1, "source": f"{source}:1"}
    assert lines == [
        {**place, "rule": "mojibake", "path": ["question"], "before": "schÃ¶n?", "after": "schön?"},
        {**place, "rule": "white_space", "path": ["answer"], "before": " ja \n", "after": "ja"},
        {"row": 2, "source": f"{source}:2", "dropped_by": "empty_answer"},
        {"row": 4, "source": f"{source}:4", "dropped_by": "equal_rows"},
    ]
    assert (hashes["first_row"], len(hashes["hashes"]), end["num_rows"]) == (1, 5 * 8, 5)
    assert read(tmp_path / "out.dropped.jsonl") == [
        {
            "number": 2,
            "source": f"{source}:2",
            "rule": "empty_answer",
            "reason": "an answer has no text",
            "row": ROWS[1],
        },
        {"number": 4, "source": f"{source}:4", "rule": "equal_rows", "reason": f"equals {source}:3", "row": ROWS[3]},
    ]
    assert result.to_json() == {
        "path": str(tmp_path / "out.jsonl"),
        "ledger": str(tmp_path / "out.ledger.jsonl"),
        "dropped": str(tmp_path / "out.dropped.jsonl"),
        "repairs": [
            "mojibake",
            "control_characters",
            "html_remnants",
            "white_space",
            "empty_answer",
            "equal_rows",
        ],
        "num_read": 5,
        "num_changed": 1,
        "changes": {"mojibake": 1, "white_space": 1},
        "drops": {"empty_answer": 1, "equal_rows": 1},
        "left": [{"repair": "control_characters", "num_rows": 1, "rows": [f"{source}:5"]}],
        "num_kept": 3,
    }


def test_undo_gives_back_the_rows_of_several_files_in_their_order(tmp_path):
    first, second = write(tmp_path / "a.jsonl", *ROWS), write(tmp_path / "b.jsonl", *ROWS[::-1])
    data_clean([first, second], tmp_path / "out.jsonl.gz")
    result = data_undo(tmp_path / "out.jsonl.gz", tmp_path / "back.json")
    assert json.loads((tmp_path / "back.json").read_text()) == [*ROWS, *ROWS[::-1]]
    # b: 5 equals 5, 4 and 3 equal 3, 2 is empty, 1 equals 1 once it is repaired
    assert (result.num_rows, result.num_reverted, result.num_put_back) == (10, 1, 7)


def test_more_rows_than_one_block_of_hashes(tmp_path):
    rows = [{"question": f"q{i} ", "answer": "" if i % 7 == 0 else f"a{i}"} for i in range(2345)]
    data_clean([write(tmp_path / "in.jsonl", *rows)], tmp_path / "out.jsonl")
    result = data_undo(tmp_path / "out.jsonl", tmp_path / "back.jsonl")
    assert read(tmp_path / "back.jsonl") == rows
    assert (result.num_rows, result.num_put_back) == (2345, 335)


@pytest.mark.parametrize("keeps", [True, False])
def test_undo_where_all_or_none_were_dropped(tmp_path, keeps):
    rows = [{"question": "q ", "answer": "a" if keeps else ""}]
    data_clean([write(tmp_path / "in.jsonl", *rows)], tmp_path / "out.jsonl")
    data_undo(tmp_path / "out.jsonl", tmp_path / "back.jsonl")
    assert read(tmp_path / "back.jsonl") == rows


def test_undo_of_redact(tmp_path):
    rows = [{"question": "eve@acme.com?", "answer": "yes"}, {"question": "q", "answer": "a"}]
    data_redact([write(tmp_path / "in.jsonl", *rows)], tmp_path / "out.jsonl", write_ledger=True)
    result = data_undo(tmp_path / "out.jsonl", tmp_path / "back.jsonl")
    assert read(tmp_path / "back.jsonl") == rows
    assert (result.num_reverted, result.num_put_back) == (1, 0)


def _edit(name: str, before: str, after: str):
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after, 1))

    return change


def _cut(name: str, lines: int):
    def change(folder: Path) -> None:
        kept = (folder / name).read_text().splitlines(keepends=True)[:lines]
        (folder / name).write_text("".join(kept))

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_edit("out.jsonl", "schön", "hübsch"), r"out\.jsonl:1: question is not what was written \(by mojibake\)"),
        (_edit("out.jsonl", "gut", "schlecht"), r"out\.jsonl:2 is not what was written"),
        (_edit("out.jsonl", '"id": 3, ', ""), r"out\.jsonl:2 is not what was written"),
        (_cut("out.jsonl", 2), r"out\.jsonl ends before row 5"),
        (_edit("out.jsonl", '{"id": 5', '{"id": 3, "question": "gut?", "answer": "ja"}\n{"id": 5'), "is not what was"),
        (lambda f: (f / "out.jsonl").open("a").write('{"question": "q", "answer": "a"}\n'), r"out\.jsonl:4: more rows"),
        (_edit("out.dropped.jsonl", "leer", "voll"), r"out\.dropped\.jsonl:1 is not what was written"),
        (_cut("out.dropped.jsonl", 1), r"out\.dropped\.jsonl: row 4, which equal_rows dropped, is missing"),
        (_edit("out.dropped.jsonl", '"number": 4', '"number": 5'), r"out\.dropped\.jsonl:2: row 4, which equal_rows"),
        (lambda f: (f / "out.dropped.jsonl").unlink(), "There is no file of dropped rows: row 2, which empty_answer"),
        (_edit("out.ledger.jsonl", '"row": 1, ', ""), r"out\.ledger\.jsonl:2: no line of a ledger"),
        (_cut("out.ledger.jsonl", 6), "is cut off or was changed"),
        (_edit("out.ledger.jsonl", '"version": 1', '"version": 2'), "is no ledger of this version"),
        (_edit("out.ledger.jsonl", " ja ", "ja"), r"out\.jsonl:1 is not what was written"),
    ],
)
def test_changed_files_are_refused_with_the_place(tmp_path, change, expected):
    data_clean([write(tmp_path / "in.jsonl", *ROWS)], tmp_path / "out.jsonl")
    change(tmp_path)
    with pytest.raises(DataError, match=expected):
        data_undo(tmp_path / "out.jsonl", tmp_path / "back.jsonl")
    assert not [name for name in names(tmp_path) if "back" in name]


def test_rows_that_do_not_fit_stop_it_or_go_when_told(tmp_path):
    rows = [ROWS[2], {"id": 9, "question": "q", "answer": 3}, ROWS[0]]
    source = write(tmp_path / "in.jsonl", *rows)
    with pytest.raises(DataError, match=r"in\.jsonl:2: answer must be text"):
        data_clean([source], tmp_path / "out.jsonl")
    assert names(tmp_path) == ["in.jsonl"]
    result = data_clean([source], tmp_path / "out.jsonl", repairs=["row_does_not_fit"])
    assert (result.drops, result.num_kept) == ({"row_does_not_fit": 1}, 2)
    assert "answer must be text" in read(tmp_path / "out.dropped.jsonl")[0]["reason"]
    data_undo(tmp_path / "out.jsonl", tmp_path / "back.jsonl")
    assert read(tmp_path / "back.jsonl") == rows


def test_truncated_answers_by_a_limit(tmp_path):
    """Of a hundred answers the ten longest all end without a full stop: a limit. The others end well."""
    sentence = "This is a sentence of some words that goes on and on"
    rows = [{"question": f"q{i}", "answer": f"{i} {sentence}{' and on' * (i % 5)}."} for i in range(90)]
    cut = [{"question": f"c{i}", "answer": f"{i} {sentence}{' and on' * 9}"} for i in range(10)]
    hanging = {"question": "h", "answer": f"{sentence} for the"}
    source = write(tmp_path / "in.jsonl", *rows, *cut, hanging)
    result = data_clean([source], tmp_path / "out.jsonl", repairs=["truncated_answers"])
    assert read(tmp_path / "out.jsonl") == rows
    reasons = [entry["reason"] for entry in read(tmp_path / "out.dropped.jsonl")]
    assert reasons == ["an answer stops in the middle, where a limit cut many"] * 10 + ["an answer stops in the middle"]
    assert result.drops == {"truncated_answers": 11}


def test_texts_with_different_classes_are_not_equal(tmp_path):
    rows = [{"text": "hello", "label": "a"}, {"text": "hello", "label": "b"}, {"text": "hello", "label": "a"}]
    result = data_clean([write(tmp_path / "in.jsonl", *rows)], tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl") == rows[:2]
    assert result.drops == {"equal_rows": 1}


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    source = write(tmp_path / "in.jsonl", *ROWS)
    written = module.RowFile.write

    def interrupted(self, values, source=None):
        if values.get("id") == 3:
            raise KeyboardInterrupt
        written(self, values, source)

    monkeypatch.setattr(module.RowFile, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data_clean([source], tmp_path / "out.jsonl")
    assert names(tmp_path) == ["in.jsonl"]


def test_refusals(tmp_path):
    source = write(tmp_path / "in.jsonl", *ROWS)
    with pytest.raises(InputError, match="no repair 'mojibak'"):
        data_clean([source], tmp_path / "out.jsonl", repairs=["mojibak"])
    with pytest.raises(InputError, match="add --rule template_markers"):
        data_clean([source], tmp_path / "out.jsonl", tokenizer="smollm2-135m-instruct")
    (tmp_path / "out.ledger.jsonl").write_text("")
    with pytest.raises(InputError, match=r"out\.ledger\.jsonl exists already"):
        data_clean([source], tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="There is no ledger"):
        data_undo(source, tmp_path / "back.jsonl")
    assert names(tmp_path) == ["in.jsonl", "out.ledger.jsonl"]


def test_control_tokens_of_a_model(tmp_path):
    from transformers import AutoTokenizer

    save_tiny_model(tmp_path / "model")
    token = str(AutoTokenizer.from_pretrained(tmp_path / "model").eos_token)
    source = write(tmp_path / "in.jsonl", {"question": "q", "answer": f"a {token}"})
    data_clean([source], tmp_path / "out.jsonl", repairs=["template_markers"], tokenizer=str(tmp_path / "model"))
    assert read(tmp_path / "out.jsonl") == [{"question": "q", "answer": "a"}]


def test_the_commands(tmp_path, capsys):
    source = write(tmp_path / "in.jsonl", *ROWS)
    out, back = tmp_path / "out.jsonl", tmp_path / "back.jsonl.gz"
    assert main(["data", "clean", str(source), str(out), "--rule", "safe", "--rule", "boilerplate"]) == 0
    shown = capsys.readouterr().out
    assert "3 of 5 rows, 1 of them changed" in shown
    assert "2 rows dropped, with reasons" in shown
    assert f"control_characters could not repair 1 row: {source}:5" in shown
    assert shown.splitlines()[-1] == f"Next: luthier data check {out}"
    assert main(["data", "undo", str(out), str(back)]) == 0
    assert "5 rows as they were read (1 changed back, 2 put back); all hashes are right" in capsys.readouterr().out
    assert [json.loads(line) for line in gzip.decompress(back.read_bytes()).splitlines()] == list(ROWS)
    assert main(["data", "clean", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["repairs"]
    safe = {"mojibake", "control_characters", "html_remnants", "white_space", "empty_answer", "equal_rows"}
    assert {repair["name"] for repair in listed if repair["is_safe"]} == safe
    assert main(["data", "clean", "--help"]) == 0
    words = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(name in words for name in safe)
    assert main(["data", "clean"]) == 2
    assert "luthier data clean IN OUT" in capsys.readouterr().err
    assert main(["data", "undo", str(source), str(tmp_path / "x.jsonl"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "InputError"
