"""Did the model go on learning its rows by heart after its best checkpoint? Said with evidence, once both are at hand.

Two things are told: how far validation and training loss drifted apart, and since when; and whether the last checkpoint is worse
than the best one on the validation rows, compared row by row. The curves alone (`training.diagnosis`) cannot tell the latter: a
rise of the mean may come from a few rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from luthier.evaluation.compare import Comparison, compare
from luthier.objectives.base import StepObjective
from luthier.runs.folder import RunFolder
from luthier.training.loop import Trainee
from luthier.training.step import autocast
from luthier.workflows.assemble import BuiltModel

OVERFITTING_FILE = "overfitting.json"
MOST_ROWS = 200
"""Validation rows compared, spread evenly over them: enough for a verdict, and little beside the validations themselves."""


class RowLosses(NamedTuple):
    """Loss of each validation row, and how much each counts (its trained tokens, or pairs)."""

    losses: tuple[float, ...]
    weights: tuple[float, ...]


class Gap(NamedTuple):
    """Validation and training loss around a validation."""

    step: int
    train: float
    validation: float

    @property
    def width(self) -> float:
        """How much higher the validation loss is."""
        return self.validation - self.train


@dataclass(frozen=True)
class Overfitting:
    """The last checkpoint against the best.

    Attributes:
        best: Losses at the best checkpoint.
        last: Losses at the last.
        growing_since: Step since which the gap has grown at every validation; None where it did not grow to the end.
        comparison: Last − best on the validation rows; less is better.
        unit: Of the losses.
    """

    best: Gap
    last: Gap
    growing_since: int | None
    comparison: Comparison
    unit: str

    @property
    def is_shown(self) -> bool:
        """Whether the last is worse, while the training loss fell."""
        return self.comparison.verdict == "worse" and self.last.train < self.best.train

    def sentence(self) -> str:
        """For people."""
        mean, low, high = (f"{value:+.3g}" for value in self.comparison.difference)
        seen = (
            f"The last checkpoint (step {self.last.step}) against the best (step {self.best.step}) on "
            f"{self.comparison.num_rows} validation rows, row by row: {mean} {self.unit} (95 % interval {low} to {high}, "
            f"p = {self.comparison.p_value:.2g})"
        )
        since = "" if self.growing_since is None else f", growing since step {self.growing_since}"
        gap = (
            f"the training loss went from {self.best.train:.3g} to {self.last.train:.3g}, and the gap of the validation loss "
            f"above it from {self.best.width:+.3g} to {self.last.width:+.3g}{since}"
        )
        if self.is_shown:
            learnt = f"what was learnt after step {self.best.step} is the rows themselves"
            return f"{seen}: the last is worse. Meanwhile {gap}: {learnt}."
        if self.comparison.verdict == "worse":
            return f"{seen}: the last is worse; {gap}."
        return f"{seen}: no evidence that the last is worse; {gap}."

    def to_json(self) -> dict[str, Any]:
        """overfitting.json."""
        return {
            "best": self.best._asdict(),
            "last": self.last._asdict(),
            "growing_since": self.growing_since,
            "comparison": self.comparison.to_json(),
            "is_shown": self.is_shown,
            "sentence": self.sentence(),
        }


@torch.no_grad()
def row_losses(trainee: Trainee, built: BuiltModel) -> RowLosses | None:
    """Loss of the validation rows with the weights in memory; None where rows have no loss of their own (KTO)."""
    if isinstance(trainee.objective, StepObjective):
        return None
    num_rows = len(trainee.feed.validation)
    chosen = np.unique(np.linspace(0, num_rows - 1, min(num_rows, MOST_ROWS)).round().astype(int))
    losses, weights = [], []
    was_training = built.scoring.training
    built.scoring.eval()
    for row in chosen.tolist():
        batch = trainee.feed.one_batch([trainee.feed.validation[row]])
        totals = trainee.objective.weights(batch)
        with autocast(trainee.placement):
            terms = trainee.objective.loss(built.scoring, batch.to(trainee.placement.device)).terms
        first = next(iter(terms.values()))
        if totals[first.unit] > 0:
            losses.append(sum(float(term.total) / totals[term.unit] for term in terms.values()))
            weights.append(totals[first.unit])
    built.scoring.train(was_training)
    return RowLosses(tuple(losses), tuple(weights))


def gaps(records: Sequence[Mapping[str, Any]]) -> list[Gap]:
    """At each validation its loss, and the mean training loss of the steps since the one before."""
    found: list[Gap] = []
    since: list[float] = []
    for record in records:
        if record["kind"] == "train":
            since.append(record["loss"])
        elif since:
            found.append(Gap(record["step"], float(np.mean(since)), record["loss"]))
            since = []
    return found


def growing_since(widths: Sequence[Gap]) -> int | None:
    """The step after which the gap became wider at every validation until the end; None where it did not at the last."""
    start = len(widths) - 1
    while start > 0 and widths[start - 1].width < widths[start].width:
        start -= 1
    return widths[start].step if start < len(widths) - 1 else None


def judge_overfitting(
    records: Sequence[Mapping[str, Any]], best_step: int, best: RowLosses, last: RowLosses, unit: str
) -> Overfitting | None:
    """From the lines of metrics.jsonl and the losses of the same rows; None where a checkpoint was not validated.

    Args:
        records: Lines of metrics.jsonl.
        best_step: Of the best checkpoint.
        best: Its rows.
        last: Of the last.
        unit: Of the losses.
    """
    widths = gaps(records)
    at_best = next((gap for gap in widths if gap.step == best_step), None)
    if at_best is None or not best.losses or not np.isfinite([*best.losses, *last.losses]).all():
        return None
    comparison = compare(
        last.losses, best.losses, names=("last", "best"), weights=best.weights, lower_is_better=True, is_share=False
    )
    return Overfitting(at_best, widths[-1], growing_since(widths), comparison, unit)


def record_overfitting(folder: RunFolder, found: Overfitting) -> None:
    """Write it down."""
    folder.write_json(OVERFITTING_FILE, found.to_json())
