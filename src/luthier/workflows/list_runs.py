"""Lists the runs of a folder from their run.json files, newest first. A damaged run is listed with its fault, not hidden."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from luthier.errors import RunError
from luthier.runs.curves import thinned
from luthier.runs.figures import read_figures
from luthier.runs.folder import RunFolder

CURVE_POINTS = 40


@dataclass(frozen=True)
class RunSummary:
    """One run in a few figures.

    Attributes:
        status: running, interrupted (also where the process has gone), failed, finished; damaged where run.json cannot be read.
        step: The last one made.
        train_loss: Loss of the last logged step; None before the first.
        loss_curve: Training losses from first to last, as means over at most `CURVE_POINTS` equal stretches.
        validation_loss: Of the result where the run is finished, else the last one measured.
        size_bytes: All files of the run folder.
        age_seconds: Since the run was created.
    """

    name: str
    path: Path
    status: str
    verdict: str | None
    base_model: str
    method: str
    step: int
    total_steps: int
    train_loss: float | None
    loss_curve: tuple[float, ...]
    validation_loss: float | None
    seconds: float
    size_bytes: int
    age_seconds: float
    error: str | None


def list_runs(folder: Path) -> list[RunSummary]:
    """All runs below `folder`; an absent folder has none."""
    found = [_summarise(RunFolder(path.parent)) for path in folder.glob("*/run.json")]
    return sorted(found, key=lambda run: run.age_seconds)


def _summarise(folder: RunFolder) -> RunSummary:
    size = _size_bytes(folder.path)
    changed = datetime.fromtimestamp((folder / "run.json").stat().st_mtime, UTC)
    try:
        figures = read_figures(folder)
    except RunError as error:
        age = (datetime.now(UTC) - changed).total_seconds()
        return RunSummary(
            folder.name, folder.path, "damaged", None, "", "", 0, 0, None, (), None, 0.0, size, age, str(error)
        )
    manifest = figures.manifest
    return RunSummary(
        name=manifest.name,
        path=folder.path,
        status=manifest.status,
        verdict=manifest.verdict,
        base_model=manifest.base_model,
        method=manifest.method,
        step=figures.step,
        total_steps=manifest.total_steps,
        train_loss=figures.train_loss,
        loss_curve=tuple(thinned([loss for _, loss in figures.curves.train], CURVE_POINTS)),
        validation_loss=figures.validation_loss,
        seconds=manifest.seconds,
        size_bytes=size,
        age_seconds=max(0.0, (datetime.now(UTC) - datetime.fromisoformat(manifest.created_at)).total_seconds()),
        error=manifest.error,
    )


def _size_bytes(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a running run removes files while we look
            size += path.stat().st_size if path.is_file() else 0
    return size
