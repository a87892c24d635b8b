"""The list of runs: figures out of the run folders, newest first, damaged ones shown as such."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from luthier.cli.app import main
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.runs.process import RunProcess
from luthier.workflows.list_runs import list_runs


def make_run(folder: Path, name: str, *, age_seconds: float, **values: object) -> RunFolder:
    run = RunFolder.create(folder / name)
    created = (datetime.now(UTC) - timedelta(seconds=age_seconds)).isoformat(timespec="seconds")
    base = {"name": name, "status": "running", "base_model": "smol", "method": "lora", "luthier_version": "0"}
    Manifest.model_validate(base | {"created_at": created} | values).save(run)
    return run


def test_figures_come_out_of_the_folder(tmp_path: Path) -> None:
    make_run(tmp_path, "old", age_seconds=7200)
    run = make_run(
        tmp_path, "new", age_seconds=60, status="finished", verdict="verified", step=20, total_steps=20, seconds=12.5
    )
    run.append_line("metrics.jsonl", {"kind": "train", "step": 10, "loss": 2.0})
    run.append_line("metrics.jsonl", {"kind": "train", "step": 20, "loss": 1.0})
    run.append_line("metrics.jsonl", {"kind": "validation", "step": 20, "loss": 2.5})
    (run / "adapter").mkdir()
    (run / "adapter" / "weights").write_bytes(b"x" * 5000)
    new, old = list_runs(tmp_path)
    assert (new.name, old.name) == ("new", "old")
    assert (new.status, new.verdict, new.step, new.total_steps, new.seconds) == ("finished", "verified", 20, 20, 12.5)
    assert (new.train_loss, new.validation_loss) == (1.0, 2.5)
    assert new.loss_curve == (2.0, 1.0)
    assert new.size_bytes == 5000 + sum((run / f).stat().st_size for f in ("run.json", "metrics.jsonl"))
    assert 59 <= new.age_seconds <= 120
    assert (old.train_loss, old.validation_loss) == (None, None)


def test_no_folder_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "runs") == []


@pytest.mark.parametrize("content", ["{", "null", "[]", '{"name": "x"}'])
def test_a_damaged_run_is_listed_with_its_fault(tmp_path: Path, content: str) -> None:
    make_run(tmp_path, "good", age_seconds=10)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text(content)
    runs = {run.name: run for run in list_runs(tmp_path)}
    assert runs["bad"].status == "damaged"
    assert "run.json cannot be read" in (runs["bad"].error or "")
    assert runs["good"].status == "running"


def widest_line(output: str) -> int:
    """Of the table: commands at the end are not broken."""
    return max(map(len, output.partition("Next:")[0].splitlines()))


def test_command_prints_a_table_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    make_run(tmp_path, "first", age_seconds=60, status="failed", error="Out of memory.")
    assert main(["runs", "--folder", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "first" in table
    assert "failed" in table
    assert "Out of memory." in table
    assert widest_line(table) <= 80
    assert table.splitlines()[-1] == f"Next:   luthier report {tmp_path / 'first'} --open  all about the newest"
    assert main(["runs", "--folder", str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["name"] == "first"
    assert set(row) == set(asdict(list_runs(tmp_path)[0]))


def test_a_run_whose_process_has_gone_is_interrupted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, "dead", age_seconds=60, total_steps=9)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    RunProcess(ended.pid, "some time ago", socket.gethostname()).save(run)
    (dead,) = list_runs(tmp_path)
    assert dead.status == "interrupted"
    assert "Process ended without a word" in (dead.error or "")
    assert json.loads((run / "run.json").read_text())["status"] == "running", "looking changes nothing"
    RunProcess.this(detached=False).save(run)
    assert list_runs(tmp_path)[0].status == "running"
    RunProcess(ended.pid, "some time ago", "another-machine").save(run)
    assert list_runs(tmp_path)[0].status == "running", "nothing is known of processes on another machine"
    assert main(["runs", "--folder", str(tmp_path)]) == 0
    assert "running" in capsys.readouterr().out


def test_in_a_narrow_terminal_columns_are_left_out_before_words_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    make_run(tmp_path, "my-first-run", age_seconds=60, status="finished", verdict="unverified")
    assert main(["runs", "--folder", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert widest_line(table) <= 60
    assert table.splitlines()[1].split() == ["my-first-run", "unverified", "1", "min"]


def test_in_a_pipe_no_name_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a-run-with-a-name-that-would-not-fit-into-a-terminal-of-80-columns-and-is-looked-for-with-grep"
    make_run(tmp_path, name, age_seconds=7500)
    assert main(["runs", "--folder", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(name)]
    assert line.endswith(" 2 h")


def test_the_table_draws_the_loss_in_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = make_run(tmp_path, "a-run-with-a-rather-long-name", age_seconds=60, status="finished", verdict="unverified")
    for step in range(1, 101):
        run.append_line("metrics.jsonl", {"kind": "train", "step": step, "loss": 101.0 - step})
    assert main(["runs", "--folder", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert widest_line(table) <= 80
    assert "█" in table
    assert "▁" in table
    assert "unverified" in table
