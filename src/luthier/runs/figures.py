"""A run in figures, from run.json and metrics.jsonl: what lists and comparisons of runs show."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.errors import RunError
from luthier.runs.curves import Curves, read_curves
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.runs.process import as_it_is


@dataclass(frozen=True, slots=True)
class RunFigures:
    """State and losses.

    Attributes:
        manifest: As it is: interrupted where the process has gone.
        curves: Of the losses.
        step: The last one made.
        train_loss: Of the last step; None before the first.
        validation_loss: Of the result where the run is finished, else the last one measured.
    """

    manifest: Manifest
    curves: Curves
    step: int
    train_loss: float | None
    validation_loss: float | None


def read_figures(folder: RunFolder) -> RunFigures:
    """Read them.

    Raises:
        RunError: run.json or metrics.jsonl cannot be read.
    """
    name = "run.json"
    try:
        manifest = as_it_is(folder, Manifest.load(folder))
        name = "metrics.jsonl"
        curves = read_curves(folder)
    except (ValueError, TypeError, RunError) as error:
        raise RunError(f"{folder / name} cannot be read: {str(error).splitlines()[0]}") from error
    last_step, train_loss = curves.train[-1] if curves.train else (0, None)
    of_result = manifest.summary.get("validation_loss")
    last = curves.validation[-1][1] if curves.validation else None
    return RunFigures(
        manifest=manifest,
        curves=curves,
        step=max(manifest.step, last_step),
        train_loss=train_loss,
        validation_loss=float(of_result) if isinstance(of_result, int | float) else last,
    )
