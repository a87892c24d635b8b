"""Lists the runs of a folder from their run.json files, newest first. A damaged run is listed with its fault, not hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from luthier.errors import RunError
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest


@dataclass(frozen=True)
class RunSummary:
    """One run in a few figures.

    Attributes:
        status: running, interrupted, failed, finished; damaged where run.json cannot be read.
        train_loss: Loss of the last logged step; None before the first.
        validation_loss: The last one measured.
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
    size = sum(p.stat().st_size for p in folder.path.rglob("*") if p.is_file())
    changed = datetime.fromtimestamp((folder / "run.json").stat().st_mtime, UTC)
    try:
        manifest = Manifest.load(folder)
    except (RunError, ValidationError, TypeError) as error:
        reason = f"run.json cannot be read: {str(error).splitlines()[0]}"
        age = (datetime.now(UTC) - changed).total_seconds()
        return RunSummary(folder.name, folder.path, "damaged", None, "", "", 0, 0, None, None, 0.0, size, age, reason)
    train_loss, validation_loss = _last_losses(folder)
    return RunSummary(
        name=manifest.name,
        path=folder.path,
        status=manifest.status,
        verdict=manifest.verdict,
        base_model=manifest.base_model,
        method=manifest.method,
        step=manifest.step,
        total_steps=manifest.total_steps,
        train_loss=train_loss,
        validation_loss=validation_loss,
        seconds=manifest.seconds,
        size_bytes=size,
        age_seconds=max(0.0, (datetime.now(UTC) - datetime.fromisoformat(manifest.created_at)).total_seconds()),
        error=manifest.error,
    )


def _last_losses(folder: RunFolder) -> tuple[float | None, float | None]:
    last: dict[str, float] = {}
    for record in folder.read_lines("metrics.jsonl"):
        last.update(_numbers(record))
    return last.get("loss"), last.get("validation_loss")


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    return {k: record[k] for k in ("loss", "validation_loss") if isinstance(record.get(k), (int, float))}
