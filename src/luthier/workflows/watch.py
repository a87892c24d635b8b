"""`luthier watch`: follows a run from any process, by reading its folder alone.

run.json says how the run stands, log.txt what was said, metrics.jsonl how far it is. All of them may be replaced while they
are read (a resume cuts metrics.jsonl back), so every look opens them anew.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from luthier.errors import RunError
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.runs.process import RunProcess, as_it_is

POLL_SECONDS = 0.5
MOST_SECONDS_FOR_REPORT = 10.0


@dataclass(frozen=True)
class RunState:
    """How a run stands.

    Attributes:
        status: running, interrupted, failed or finished; a run whose process has gone is interrupted.
        step: The last one made.
        figures: The newest of each: loss, validation_loss, learning_rate, tokens_per_second, memory_bytes, …
        error: Why it ended early.
        pid: The process that trains it, where that is known and alive.
    """

    run: Path
    status: str
    verdict: str | None
    step: int
    total_steps: int
    seconds: float
    figures: Mapping[str, float]
    error: str | None
    pid: int | None

    @property
    def is_good(self) -> bool:
        """Whether it has ended, and well."""
        return self.status == "finished" and self.verdict == "verified"

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "run": str(self.run),
            "status": self.status,
            "verdict": self.verdict,
            "step": self.step,
            "total_steps": self.total_steps,
            "seconds": round(self.seconds, 1),
            "figures": dict(self.figures),
            "error": self.error,
            "pid": self.pid,
        }


SHOWN = ("loss", "tokens_per_second", "memory_bytes", "learning_rate")


class _Tail:
    """Whole new lines of a file that grows, and may be replaced or cut back."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._inode = path, 0, -1
        self.was_replaced = False

    def read(self) -> list[str]:
        """Lines since the last call; all of them again (and `was_replaced`) if it is another file now."""
        self.was_replaced = False
        try:
            with self._path.open("rb") as file:
                inode, size = _identity(file.fileno())
                if inode != self._inode or size < self._offset:
                    self.was_replaced = self._inode != -1
                    self._inode, self._offset = inode, 0
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.decode(errors="replace").splitlines()


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_ino, status.st_size


class RunWatcher:
    """Looks at a run again and again; `figures` and `step` grow with what is new."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._metrics, self._log = _Tail(folder / "metrics.jsonl"), _Tail(folder / "log.txt")
        self._figures: dict[str, float] = {}
        self._step = 0

    def look(self) -> RunState:
        """How the run stands now."""
        folder = self._folder
        manifest = as_it_is(folder, _manifest(folder))
        # After run.json: what it says has been written by then.
        lines = self._metrics.read()
        if self._metrics.was_replaced:
            self._figures, self._step = {}, 0
        for line in lines:
            self._take(json.loads(line))
        process = RunProcess.load(folder) if manifest.status == "running" else None
        return RunState(
            run=folder.path,
            status=manifest.status,
            verdict=manifest.verdict,
            step=max(self._step, manifest.step),
            total_steps=manifest.total_steps,
            seconds=manifest.seconds,
            figures=dict(self._figures),
            error=manifest.error,
            pid=None if process is None else process.pid,
        )

    def said(self) -> list[str]:
        """New lines of log.txt, without their time."""
        return [line.partition(" ")[2] for line in self._log.read()]

    def _take(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "validation":
            names = {"loss": "validation_loss"}
        else:
            names = {name: name for name in SHOWN}
            self._step = int(record["step"])
        for name, shown in names.items():
            value = record.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                self._figures[shown] = float(value)


def _manifest(folder: RunFolder) -> Manifest:
    try:
        return Manifest.load(folder)
    except (ValidationError, TypeError) as error:
        raise RunError(f"{folder / 'run.json'} is not the record of a run: {str(error).splitlines()[0]}") from error


def state_of(run: Path) -> RunState:
    """How a run stands, looked at once.

    Raises:
        RunError: There is no run, or its run.json cannot be read.
    """
    return RunWatcher(RunFolder.open(run)).look()


def watch(run: Path, reporter: Reporter, *, poll_seconds: float = POLL_SECONDS) -> RunState:
    """Report how a run goes on until it ends; a run that has ended is told at once.

    Of what was said before only the present stage is repeated.

    Raises:
        RunError: There is no run, or its folder was removed while it was watched.
    """
    watcher = RunWatcher(RunFolder.open(run))
    state = watcher.look()
    stages = [line for line in watcher.said() if line.startswith("== ")]
    if state.status == "running" and stages:
        reporter.stage(stages[-1].removeprefix("== "))
    shown_step = -1
    while state.status == "running":
        if state.step != shown_step and state.step:
            shown_step = state.step
            reporter.progress("train", state.step, state.total_steps, state.figures)
        time.sleep(poll_seconds)
        state = watcher.look()
        _repeat(watcher.said(), reporter)
    if state.step != shown_step and shown_step >= 0:
        reporter.progress("train", state.step, state.total_steps, state.figures)
    if shown_step >= 0:
        _wait_for_report(RunFolder(run), poll_seconds)
    return state


def _wait_for_report(folder: RunFolder, poll_seconds: float) -> None:
    """The report is written just after run.json has told the end; a process that died writes none."""
    report, record = folder / "report.html", folder / "run.json"
    deadline = time.monotonic() + MOST_SECONDS_FOR_REPORT
    while time.monotonic() < deadline:
        if report.is_file() and report.stat().st_mtime >= record.stat().st_mtime:
            return
        process = RunProcess.load(folder)
        if process is None or not process.is_alive:
            return
        time.sleep(poll_seconds)


def _repeat(lines: list[str], reporter: Reporter) -> None:
    for line in lines:
        if line.startswith("== "):
            reporter.stage(line.removeprefix("== "))
        elif line.startswith("warning: "):
            reporter.say(line.removeprefix("warning: "), "warning")
        else:
            reporter.say(line)
