"""Who may use a run's folder: a name that holds work is not taken again, and a run has one process at a time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from luthier.errors import RunError
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.runs.process import RunProcess

DETACHED = "LUTHIER_DETACHED"
"""Set to 1 in the environment of a process that was started without a terminal."""


def refuse_taken_name(path: Path, overwrite: bool) -> None:
    """Raise RunError early if a run of this name holds work; a run that failed before its first step holds none."""
    if not path.exists():
        return
    if (path / "run.json").is_file():
        folder = RunFolder(path)
        refuse_running(folder)
        if overwrite:
            return
        earlier = Manifest.load(folder)
        if earlier.status == "failed" and earlier.step == 0 and not (path / "checkpoints" / "index.json").is_file():
            shutil.rmtree(path)
            return
    if overwrite:
        return
    raise RunError(
        f"A run named '{path.name}' exists already in {path.parent}. Choose another run.name, "
        f"continue it with: luthier train --resume {path.name}, or pass --overwrite."
    )


def refuse_running(folder: RunFolder) -> None:
    """Raise RunError if another process trains this run."""
    process = RunProcess.load(folder)
    if process is None or process.pid == os.getpid() or not process.is_on_this_machine or not process.is_alive:
        return
    if (folder / "run.json").is_file() and folder.read_json("run.json").get("status") == "running":
        raise RunError(
            f"{folder.name} is being trained by process {process.pid}. Look at it with: luthier watch {folder.name}; "
            f"end it with: luthier stop {folder.name}"
        )


def claim(folder: RunFolder) -> None:
    """Write down that this process trains the run; before run.json says that one does."""
    RunProcess.this(detached=os.environ.get(DETACHED) == "1").save(folder)
