"""`luthier data check` as a user runs it: exit codes, JSON, the page, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.cli.app import main
from luthier.data.lint.catalogue import RULES
from tests.unit.workflows.test_data_check import clean, write

SECRET = {"prompt": "Key?", "completion": "<script>alert(1)</script> AKIA" + "IOSFODNN7QWERTYU"}


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path / "good.jsonl", clean(500))
    bad = write(tmp_path / "bad.jsonl", [*clean(500), SECRET])
    assert main(["data", "check", str(good)]) == 0
    assert "nothing to repair" in capsys.readouterr().out
    assert main(["data", "check", str(good), str(bad), "--rule", "secrets"]) == 1
    out = capsys.readouterr().out
    assert f"{bad}:501" in out
    assert "Revoke them first" in out
    assert main(["data", "check", str(tmp_path / "none.jsonl")]) == 2
    assert main(["data", "check", str(good), "--rule", "secret"]) == 2
    assert "Did you mean 'secrets'" in capsys.readouterr().err
    assert main(["data", "check", str(good), "--column", "prompt"]) == 2
    assert main(["data", "check", str(good), "--html", str(tmp_path / "no" / "page.html")]) == 2


def test_json_is_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = write(tmp_path / "bad.jsonl", [*clean(20), SECRET])
    assert main(["data", "check", str(bad), "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["counts"] == {"error": 1, "warning": 2, "note": 0}
    assert [finding["rule"] for finding in content["findings"]] == ["secrets", "few_rows", "html_remnants"]


def test_the_page_shows_findings_and_runs_nothing_of_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    bad = write(tmp_path / "bad.jsonl", [*clean(20), SECRET])
    assert main(["data", "check", str(bad), "--html", str(page)]) == 1
    html = page.read_text(encoding="utf-8")
    assert f"{bad}:21" in html
    assert "Not fit for training" in html
    assert "alert(1)</script>" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_fail_on_decides_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = write(tmp_path / "twice.jsonl", clean(300) * 2)
    bad = write(tmp_path / "bad.jsonl", [*clean(500), SECRET])
    assert main(["data", "check", str(twice)]) == 0
    assert main(["data", "check", str(twice), "--fail-on", "warning"]) == 1
    assert main(["data", "check", str(twice), "--fail-on", "warning", "--skip", "duplicate_rows"]) == 0
    assert main(["data", "check", str(bad), "--fail-on", "never"]) == 0
    capsys.readouterr()
    assert main(["data", "check", str(bad), "--fail-on", "never", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["passed"], content["failed"]) == (False, False)
    assert main(["data", "check", str(bad), "--fail-on", "note"]) == 2


def test_the_end_names_what_was_not_asked_and_the_next_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "rows.jsonl", clean(500))
    assert main(["data", "check", str(path)]) == 0
    *_, verdict, last = capsys.readouterr().out.splitlines()
    assert verdict.startswith("500 conversations. Fit for training.")
    assert last == f"Next:   luthier data inspect {path}"
    assert main(["data", "check", str(path), "--rule", "length_bias"]) == 0
    assert "Not asked: length_bias (is for preference pairs)" in capsys.readouterr().out


def test_rules_are_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == list(RULES)
    assert main(["data", "rules", "length_bias"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("Why: ", "Do: ", "Wilson", "Only for: preference"))
    assert main(["data", "rules", "--json"]) == 0
    assert {rule["name"] for rule in json.loads(capsys.readouterr().out)["rules"]} == set(RULES)
    assert main(["data", "rules", "length"]) == 2
    assert "Did you mean 'length_bias'" in capsys.readouterr().err


def test_the_page_shows_topics_as_bars_with_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    path = write(tmp_path / "rows.jsonl", clean(200))
    assert main(["data", "check", str(path), "--html", str(page)]) == 0
    html = page.read_text(encoding="utf-8")
    assert "What the prompts are about" in html
    assert "What the answers are about" in html
    assert html.count("<rect") >= 8
    assert "and what did people number" in html
    assert "Not asked: contamination" in html


def test_it_starts_without_torch(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", clean(20))
    code = (
        "import sys; from luthier.cli.app import main; assert main(['data', 'check', sys.argv[1]]) == 0;"
        "assert not {'torch', 'transformers', 'peft', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
