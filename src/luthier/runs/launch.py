"""Starts a run as a process of its own that outlives the terminal, and stops one.

While it starts, its two streams go to files beside the run folder, which does not exist yet:

    runs/.<name>.<number>.starting/   output.log   what it says, as on a terminal
                                      result.json  its result or its error, one JSON object

Once the run has its folder they move into it. A start that fails leaves nothing but its error.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier import errors
from luthier.errors import InputError, LuthierError, ResourceError, RunError
from luthier.runs.claim import DETACHED
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.runs.process import RunProcess, as_it_is, has_checkpoint

LOG, RESULT = "output.log", "result.json"
POLL_SECONDS = 0.1
LOG_LINES = 30


@dataclass(frozen=True, slots=True)
class Launched:
    """A run that has begun."""

    run: Path
    pid: int

    @property
    def log(self) -> Path:
        """What the process says."""
        return self.run / LOG

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"run": str(self.run), "pid": self.pid, "log": str(self.log), "detached": True}


def launch(arguments: Sequence[str], run: Path) -> Launched:
    """Start ``luthier ARGUMENTS`` without a terminal, and wait until it works in the folder `run`.

    Raises:
        LuthierError: It ended before; the error is its own.
        ResourceError: The system has no processes that outlive a terminal, or the place cannot be written.
    """
    if os.name != "posix":
        raise ResourceError("A detached run needs Linux or macOS. Leave --detach out and keep the window open.")
    with _place_to_start(run) as place:
        with _hang_up_ignored(), (place / LOG).open("wb") as log, (place / RESULT).open("wb") as result:
            process = subprocess.Popen(
                [sys.executable, "-m", "luthier", *arguments, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=log,
                start_new_session=True,
                env={**os.environ, DETACHED: "1"},
            )
        folder = RunFolder(run)
        while not _is_running(folder, process.pid):
            if process.poll() is not None:
                if not _was_claimed(folder, process.pid):
                    raise _error_of(place, process.returncode)
                break  # begun and ended between two looks: its folder tells
            time.sleep(POLL_SECONDS)
        for name in (LOG, RESULT):
            # The process goes on writing: a file keeps its contents and its writer when it is renamed.
            os.replace(place / name, run / name)
    return Launched(run, process.pid)


def _was_claimed(folder: RunFolder, pid: int) -> bool:
    process = RunProcess.load(folder)
    return process is not None and process.pid == pid


def _is_running(folder: RunFolder, pid: int) -> bool:
    return _was_claimed(folder, pid) and (folder / "run.json").is_file() and Manifest.load(folder).status == "running"


@contextmanager
def _place_to_start(run: Path) -> Generator[Path]:
    """A folder beside the run's; afterwards it is gone, and so is `run`'s parent if it was made for this and is empty."""
    was_there = run.parent.is_dir()
    try:
        run.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{run.name}.", suffix=".starting", dir=run.parent))
    except OSError as error:
        raise ResourceError(f"{run.parent} cannot be written: {error.strerror}. Choose another run.folder.") from error
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        if not was_there and not any(run.parent.iterdir()):
            run.parent.rmdir()


@contextmanager
def _hang_up_ignored() -> Generator[None]:
    """A process started inside ignores SIGHUP: what a signal is set to at its start, ignored, it inherits."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _error_of(place: Path, exit_code: int) -> LuthierError:
    """What a process that ended early died of, as the error it would have been here; a bug with the end of its log."""
    try:
        found = json.loads((place / RESULT).read_text(encoding="utf-8"))["error"]
        kind, message = getattr(errors, str(found["type"]), None), str(found["message"])
    except (ValueError, KeyError, TypeError):
        kind, message = None, ""
    if not (isinstance(kind, type) and issubclass(kind, LuthierError)):
        tail = "\n".join((place / LOG).read_text(errors="replace").splitlines()[-LOG_LINES:])
        return LuthierError(f"The run ended before it began (exit code {exit_code}). The end of what it said:\n{tail}")
    if kind.__init__ is Exception.__init__:
        return kind(message)
    # One that is made of more than its message: the exit code is what counts.
    return (InputError if exit_code == InputError.exit_code else LuthierError)(message)


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a stop did.

    Attributes:
        action: "stopped" by us; "was not running"; "put right": run.json said running, but its process had gone.
        saved: Whether there is a checkpoint to go on from.
    """

    run: Path
    action: str
    status: str
    step: int
    total_steps: int
    saved: bool

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "run": str(self.run),
            "action": self.action,
            "status": self.status,
            "step": self.step,
            "total_steps": self.total_steps,
            "saved": self.saved,
        }


def stop(run: Path, waiting: Callable[[float], None] = lambda _: None) -> Stopped:
    """Ask the process of a run to save and end (SIGTERM), and wait until it has.

    Args:
        run: Its folder.
        waiting: Called now and then with the seconds waited.

    Raises:
        RunError: The run is on another machine, or no process has written its name into it.
    """
    folder = RunFolder.open(run)
    manifest = Manifest.load(folder)
    if manifest.status != "running":
        return _stopped(folder, "was not running")
    process = RunProcess.load(folder)
    if process is None:
        raise RunError(
            f"{folder.name} does not say which process trains it. Stop it where it was started, with Ctrl-C."
        )
    if not process.is_on_this_machine:
        raise RunError(f"{folder.name} runs on the machine {process.host} (process {process.pid}). Stop it there.")
    action = "stopped" if process.is_alive else "put right"
    began = time.monotonic()
    if process.is_alive:
        os.kill(process.pid, signal.SIGTERM)
    while process.is_alive:
        time.sleep(POLL_SECONDS)
        waiting(time.monotonic() - began)
    put_right(folder)
    return _stopped(folder, action)


def put_right(folder: RunFolder) -> None:
    """Write into run.json that the run is interrupted, where it says running and its process has gone."""
    manifest = Manifest.load(folder)
    real = as_it_is(folder, manifest)
    if real.status != manifest.status:
        real.save(folder)


def _stopped(folder: RunFolder, action: str) -> Stopped:
    manifest = Manifest.load(folder)
    return Stopped(folder.path, action, manifest.status, manifest.step, manifest.total_steps, has_checkpoint(folder))
