"""`data_check` on files: findings with file and line, rows that do not fit, verdicts in words, speed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from luthier.errors import DataError, InputError, ModelError
from luthier.workflows import data_check as module
from luthier.workflows.data_check import data_check
from tests.tiny import tiny_tokenizer
from tests.unit.data.lint.rows import clean_rows


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def clean(count: int, seed: int = 0) -> list[dict[str, object]]:
    return [{"prompt": r.messages[0].content, "completion": r.messages[1].content} for r in clean_rows(count, seed)]


def test_clean_data_pass(tmp_path: Path):
    result = data_check([write(tmp_path / "rows.jsonl", clean(500))])
    assert result.findings == ()
    assert result.passed
    assert result.verdict == (
        f"500 conversations. Fit for training. {len(result.rules)} rules were asked, nothing to repair."
    )
    assert (result.files[0].num_rows, result.files[0].format) == (500, "prompt_completion")


def test_findings_name_file_and_line_over_several_files(tmp_path: Path):
    rows = clean(500)
    first = write(tmp_path / "first.jsonl", rows)
    second = write(
        tmp_path / "second.jsonl",
        [rows[7], {"prompt": "Key?", "completion": f"{rows[8]['completion']} Use AKIA" + "IOSFODNN7QWERTYU."}],
    )
    result = data_check([first, second])
    assert [(f.severity, f.rule, list(map(str, f.rows))) for f in result.findings] == [
        ("error", "secrets", [f"{second}:2"]),
        ("warning", "duplicate_rows", [f"{second}:1"]),
    ]
    assert result.verdict == (
        "502 conversations in 2 files. Not fit for training as they are: secrets (1 row). Repair these first. Also at a cost in "
        f"quality: duplicate rows (1 row). {len(result.rules)} rules were asked."
    )
    assert result.counts == {"error": 1, "warning": 1, "note": 0}
    content = json.loads(json.dumps(result.to_json()))
    assert content["findings"][0]["rows"] == [{"file": str(second), "line": 2}]
    assert (content["passed"], content["num_rows"]) == (False, 502)


def test_rows_that_do_not_fit_are_a_finding(tmp_path: Path):
    rows = clean(600)
    rows[3] = {"prompt": "Only a prompt"}
    rows[550] = {"prompt": 5, "completion": "x"}
    result = data_check([write(tmp_path / "rows.jsonl", rows)])
    first, second = result.findings
    assert {(f.rule, f.severity, f.num_rows) for f in (first, second)} == {("row_does_not_fit", "error", 1)}
    assert {(f.example, f.rows[0].line) for f in (first, second)} == {
        ("completion is missing", 4),
        ("prompt must be text, found the value 5", 551),
    }
    assert result.num_rows == 600
    assert result.verdict.startswith(
        "600 rows (598 conversations). Not fit for training as they are: row does not fit (2 rows)"
    )


def test_unused_columns_are_a_note_and_columns_can_be_mapped(tmp_path: Path):
    rows = [{"q": r["prompt"], "a": r["completion"], "topic": "x"} for r in clean(500)]
    result = data_check([write(tmp_path / "rows.jsonl", rows)], columns={"prompt": "q", "completion": "a"})
    (finding,) = result.findings
    assert (finding.rule, finding.severity) == ("columns_not_used", "note")
    assert "topic" in finding.message
    assert result.passed


def test_few_rows_decide_the_verdict(tmp_path: Path):
    result = data_check([write(tmp_path / "rows.jsonl", clean(5))])
    assert result.verdict.startswith("5 conversations. Too few: do not fine-tune yet.")
    assert result.passed


def test_rules_can_be_chosen(tmp_path: Path):
    file = write(tmp_path / "rows.jsonl", clean(5) * 2)
    assert [f.rule for f in data_check([file], rules=["duplicate_rows"]).findings] == ["duplicate_rows"]
    with pytest.raises(InputError, match="There is no rule"):
        data_check([file], rules=["nothing"])
    with pytest.raises(InputError, match="at least one"):
        data_check([])


def test_a_broken_line_is_an_error_with_its_place(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "comp\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: broken JSON"):
        data_check([path])


def test_a_file_that_changes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "rows.jsonl", clean(5))
    original = module.recognise_files

    def touching(*arguments: object, **options: object) -> object:
        found = original(*arguments, **options)  # type: ignore[arg-type]
        os.utime(path, (0, 0))
        return found

    monkeypatch.setattr(module, "recognise_files", touching)
    with pytest.raises(DataError, match="changed while it was read"):
        data_check([path])


def test_ten_thousand_rows_are_fast(tmp_path: Path):
    path = write(tmp_path / "rows.jsonl", clean(10_000))
    started = time.process_time()
    result = data_check([path])
    assert result.num_rows == 10_000
    assert time.process_time() - started < 8  # 480 s for a million rows would allow 4.8; slack for slow machines


def pairs(count: int) -> list[dict[str, object]]:
    rows = clean(count)
    return [{"prompt": r["prompt"], "chosen": r["completion"], "rejected": f"No. {i}."} for i, r in enumerate(rows)]


def test_preference_pairs_are_asked_the_rules_that_apply(tmp_path: Path):
    rows = pairs(500)
    rows[3]["rejected"] = rows[3]["chosen"]
    result = data_check([write(tmp_path / "pairs.jsonl", rows)])
    assert result.kinds == {"preference": 500}
    found = {finding.rule: finding for finding in result.findings}
    assert found["identical_pair"].rows[0].line == 4
    assert found["length_bias"].severity == "warning"
    not_run = dict(result.not_run)
    assert not_run["conflicting_answers"] == "is for conversations"
    assert "identical_pair" in result.rules
    assert result.verdict.startswith(
        "500 preference pairs. Fit for training, at a cost in quality: identical pair (1 row)"
    )


def test_labels_of_kto_and_classes_are_read(tmp_path: Path):
    rows = clean(500)
    kto = [{**row, "label": i % 2 == 0} for i, row in enumerate(rows)]
    kto.append({**kto[0], "label": False})
    result = data_check([write(tmp_path / "kto.jsonl", kto)])
    assert (result.kinds, [f.rule for f in result.findings]) == ({"kto": 501}, ["conflicting_preferences"])
    classes = [{"text": row["prompt"], "label": "ab"[i % 2]} for i, row in enumerate(rows)]
    classes.append({"text": rows[0]["prompt"], "label": "b"})
    result = data_check([write(tmp_path / "classes.jsonl", classes)])
    assert (result.kinds, [f.rule for f in result.findings]) == ({"classification": 501}, ["conflicting_labels"])


def test_a_file_that_is_both_is_read_as_asked(tmp_path: Path):
    rows = [{"instruction": r["prompt"], "output": r["chosen"], **r} for r in pairs(120)]
    for row in rows:
        del row["prompt"]
    path = write(tmp_path / "both.jsonl", rows)
    assert data_check([path]).kinds == {"chat": 120}
    assert data_check([path], format="preference").kinds == {"preference": 120}
    with pytest.raises(DataError, match="no row has an answer and a label"):
        data_check([path], format="kto")


def test_rules_can_be_skipped(tmp_path: Path):
    result = data_check([write(tmp_path / "rows.jsonl", clean(50) * 2)], skip=["duplicate_rows", "few_rows"])
    assert {"duplicate_rows", "few_rows"}.isdisjoint(f.rule for f in result.findings)
    assert dict(result.not_run)["duplicate_rows"] == "skipped"
    with pytest.raises(InputError, match="Did you mean 'few_rows'"):
        data_check([tmp_path / "rows.jsonl"], skip=["few_row"])


def test_rows_of_evaluation_sets_are_found(tmp_path: Path):
    rows = clean(500)
    held_out = write(tmp_path / "eval.jsonl", [{"question": rows[6]["prompt"], "answer": "42"}])
    path = write(tmp_path / "rows.jsonl", rows)
    (finding,) = data_check([path], against=[held_out], rules=["contamination"]).findings
    assert (finding.severity, finding.rows[0].line, finding.example) == ("error", 7, f"the prompt equals {held_out}:1")
    mapped = write(tmp_path / "mapped.jsonl", [{"q": r["prompt"], "a": r["completion"]} for r in rows])
    columns = {"prompt": "q", "completion": "a"}
    assert data_check([mapped], columns=columns, against=[held_out], rules=["contamination"]).findings[0].num_rows == 1
    broken = write(tmp_path / "broken.jsonl", [{"question": "x", "answer": "y"}, {"question": 7}])
    with pytest.raises(DataError, match="could not be looked for"):
        data_check([path], against=[broken])
    with pytest.raises(InputError, match="needs evaluation sets"):
        data_check([path], rules=["contamination"])


def test_a_folder_with_a_tokenizer_alone_will_do(tmp_path: Path):
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    rows = [{"prompt": f"{i}?", "completion": f"<think>So {i}.</think>{i}."} for i in range(120)]
    result = data_check(
        [write(tmp_path / "rows.jsonl", rows)],
        tokenizer=str(tmp_path / "tokenizer"),
        rules=["thinking", "template_refuses"],
    )
    assert (result.rules, result.findings) == (("thinking", "template_refuses"), ())
    with pytest.raises(ModelError, match="No model"):
        data_check([tmp_path / "rows.jsonl"], tokenizer=str(tmp_path / "nothing"))


def test_what_fails(tmp_path: Path):
    result = data_check([write(tmp_path / "rows.jsonl", clean(250) * 2)], rules=["duplicate_rows"])
    assert [result.fails(on) for on in ("error", "warning", "never")] == [False, True, False]


def test_the_next_step_repairs_what_was_found(tmp_path: Path):
    def next_step(name: str, rows: list[dict[str, object]], **options: object) -> str:
        return data_check([write(tmp_path / name, rows)], **options).next_step  # type: ignore[arg-type]

    rows = clean(500)
    good = tmp_path / "good.jsonl"
    assert next_step("good.jsonl", rows) == f"luthier data inspect {good}"
    assert next_step("few.jsonl", rows[:5]) == "luthier data rules few_rows"
    empty = [*rows, {"prompt": "A question?", "completion": " "}]
    assert next_step("with space.jsonl", empty) == (
        f"luthier data clean '{tmp_path / 'with space.jsonl'}' OUT.jsonl --rule empty_answer"
    )
    held_out = {"against": [good], "rules": ["contamination"]}
    assert next_step("held.jsonl", rows[:20], **held_out) == (
        f"luthier data decontaminate {tmp_path / 'held.jsonl'} OUT.jsonl --against EVAL"
    )
