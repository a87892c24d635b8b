"""Who may use a run's folder: a name that holds work is not taken again, and a run has one process at a time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from luthier.errors import RunError
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.runs.process import RunProcess, as_it_is, has_checkpoint

DETACHED = "LUTHIER_DETACHED"
"""Set to 1 in the environment of a process that was started without a terminal."""


def refuse_taken_name(path: Path, overwrite: bool) -> None:
    """Raise RunError early if a run of this name holds work; one that ended before its first step holds none and goes."""
    if not path.exists():
        return
    can_resume = False
    if (path / "run.json").is_file():
        folder = RunFolder(path)
        refuse_running(folder)
        if overwrite:
            return
        earlier = as_it_is(folder, Manifest.load(folder))
        if earlier.status in ("failed", "interrupted") and earlier.step == 0 and not _has_worked(folder):
            shutil.rmtree(path)
            return
        can_resume = earlier.status != "finished" and has_checkpoint(folder)
    if overwrite:
        return
    resume = f"continue it with: luthier train --resume {RunFolder(path).typed}, " if can_resume else ""
    raise RunError(
        f"A run named '{path.name}' exists already in {path.parent}. Choose another run.name, {resume}"
        f"or pass --overwrite to replace it."
    )


def _has_worked(folder: RunFolder) -> bool:
    return has_checkpoint(folder) or any(record["kind"] == "train" for record in folder.read_lines("metrics.jsonl"))


def refuse_running(folder: RunFolder) -> None:
    """Raise RunError if another process trains this run."""
    process = RunProcess.load(folder)
    if process is None or process.pid == os.getpid() or not process.is_on_this_machine or not process.is_alive:
        return
    if (folder / "run.json").is_file() and folder.read_json("run.json").get("status") == "running":
        raise RunError(
            f"{folder.name} is being trained by process {process.pid}. Look at it with: luthier watch {folder.typed}; "
            f"end it with: luthier stop {folder.typed}"
        )


def claim(folder: RunFolder) -> None:
    """Write down that this process trains the run; before run.json says that one does."""
    RunProcess.this(detached=os.environ.get(DETACHED) == "1").save(folder)
