"""Watching reads the run folder alone: new lines, replaced files, half-written ends, a process that died."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.reporter import Silent
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest, now
from luthier.runs.process import RunProcess
from luthier.workflows.watch import RunWatcher, state_of, watch


class Remembered(Silent):
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.said: list[str] = []
        self.steps: list[tuple[float, float]] = []

    def stage(self, title: str) -> None:
        self.stages.append(title)

    def say(self, message: str, level: str = "info") -> None:
        self.said.append(f"{level}: {message}")

    def progress(self, name: str, done: float, total: float, detail: Any = None) -> None:
        self.steps.append((done, (detail or {}).get("loss", 0.0)))


def make_run(path: Path, **values: Any) -> RunFolder:
    folder = RunFolder.create(path)
    save(folder, **values)
    RunProcess.this(detached=True).save(folder)
    return folder


def save(folder: RunFolder, **values: Any) -> None:
    base = {"name": folder.name, "base_model": "m", "method": "lora", "luthier_version": "0", "created_at": now()}
    Manifest.model_validate(base | {"status": "running", "total_steps": 9} | values).save(folder)


def step(folder: RunFolder, number: int, loss: float, kind: str = "train") -> None:
    folder.append_line("metrics.jsonl", {"kind": kind, "step": number, "loss": loss, "tokens_per_second": 7.0})


def test_new_lines_are_added_and_half_lines_wait(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    watcher = RunWatcher(folder)
    assert watcher.look().step == 0
    step(folder, 1, 3.0)
    step(folder, 1, 3.5, "validation")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 2, "lo')
    state = watcher.look()
    assert (state.step, state.figures["loss"], state.figures["validation_loss"]) == (1, 3.0, 3.5)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('ss": 2.0}\n')
    assert watcher.look().figures["loss"] == 2.0
    assert watcher.look().pid == os.getpid()


def test_a_file_that_was_replaced_is_read_from_its_beginning(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    for number in range(1, 6):
        step(folder, number, 1.0)
    watcher = RunWatcher(folder)
    assert watcher.look().step == 5
    folder.write_text("metrics.jsonl", json.dumps({"kind": "train", "step": 2, "loss": 4.0}) + "\n")
    state = watcher.look()
    assert (state.step, state.figures) == (2, {"loss": 4.0})


def test_watching_ends_with_the_run_and_tells_what_happened(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    (folder / "log.txt").write_text("t == Load\nt old words\nt == Train\nt more old words\n")
    step(folder, 1, 3.0)
    reporter = Remembered()

    def work() -> None:
        for number in range(2, 6):
            time.sleep(0.03)
            step(folder, number, 3.0 - number / 10)
        with (folder / "log.txt").open("a") as log:
            log.write("t == Save\nt Saved.\nt warning: Hot.\n")
        save(folder, status="finished", verdict="verified", step=5)
        time.sleep(0.05)
        folder.write_text("report.html", "late")

    thread = threading.Thread(target=work)
    thread.start()
    state = watch(folder.path, reporter, poll_seconds=0.01)
    assert (folder / "report.html").is_file(), "a watcher that has ended may be followed by looking at the report"
    thread.join()
    assert state.is_good
    assert reporter.stages == ["Train", "Save"]
    assert reporter.said == ["info: Saved.", "warning: Hot."]
    assert reporter.steps[0] == (1, 3.0)
    assert reporter.steps[-1] == (5, 2.5)


def test_a_dead_process_ends_the_watching(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    RunProcess(os.getpid(), "an earlier start", socket.gethostname()).save(folder)
    state = watch(folder.path, Silent())
    assert (state.status, state.is_good) == ("interrupted", False)
    assert "Process ended without a word" in (state.error or "")


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"status": "finished", "verdict": "verified", "step": 9}, 0, "verified, step 9/9"),
        ({"status": "finished", "verdict": "unverified", "step": 9}, 1, "unverified"),
        ({"status": "failed", "error": "Out of memory."}, 1, "Out of memory."),
    ],
)
def test_exit_code_is_the_runs_verdict(
    tmp_path: Path, values: dict[str, Any], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "a", **values)
    assert main(["watch", str(folder.path)]) == code
    assert words in capsys.readouterr().out


def test_json_gives_the_state_once_also_of_a_running_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path / "a")
    step(folder, 4, float("nan"))
    assert main(["watch", str(folder.path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["status"], content["step"], content["total_steps"], content["pid"]) == (
        "running",
        4,
        9,
        os.getpid(),
    )
    assert "loss" not in content["figures"]
    assert state_of(folder.path).figures == {"tokens_per_second": 7.0}
