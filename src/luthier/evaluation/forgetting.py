"""What tuning cost elsewhere: is the tuned model at most a tolerance worse than the base model on the general suite?

This is a question of non-inferiority, and has three answers. `kept`: the whole 95 % interval of the difference lies above the
tolerated loss. `forgotten`: the whole interval lies below it. Between them the rows are too few to tell, and saying "no
difference was found" would be no answer: few rows never find one.

Losses of shares (accuracy) are told in points. Bits per byte have no natural scale, so their loss is relative: the growth of all
texts' bits by the base model's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from luthier.evaluation.result import TaskResult
from luthier.evaluation.statistics.intervals import CONFIDENCE, Interval
from luthier.evaluation.statistics.paired import paired_difference
from luthier.evaluation.statistics.power import MIN_ROWS, rows_needed
from luthier.evaluation.suite.general import PARTS
from luthier.types import Check

CHECK_NAME = "evaluation.forgetting"
USUAL_TOLERANCE = 0.1
"""What losses are held against where the recipe sets no tolerance; nothing fails by it."""

Answer = Literal["kept", "forgotten", "too few rows to tell"]


class Kept(NamedTuple):
    """One part of the suite, after against before.

    Attributes:
        change: Tuned − base, turned so that below zero is worse; relative where scores are no shares.
        tolerance: The loss that is accepted, above zero.
        rows_needed: Rows that would tell if the true change is the one seen; None where it is told, or where the change seen
            is the tolerated loss itself.
    """

    task: str
    metric: str
    change: Interval
    tolerance: float
    num_rows: int
    answer: Answer
    rows_needed: int | None
    is_share: bool

    def sentence(self) -> str:
        """For people."""
        unit = " points" if self.is_share else " % of its bits per byte"
        mean, low, high = (f"{100 * value:+.1f}" for value in self.change)
        seen = f"{self.task}: {mean}{unit} (95 % interval {low} to {high}, {self.num_rows} rows)"
        limit = f"{100 * self.tolerance:g}{' points' if self.is_share else ' %'}"
        if self.answer == "kept":
            return f"{seen}: kept, the loss is at most {limit}."
        if self.answer == "forgotten":
            return f"{seen}: forgotten, the loss is more than {limit}."
        needed = "" if self.rows_needed is None else f"; about {self.rows_needed} rows would"
        return f"{seen}: too few rows to tell whether the loss is more than {limit}{needed}."

    def to_json(self) -> dict[str, Any]:
        """For forgetting.json and ``--json``."""
        return {**self._asdict(), "change": self.change.to_json(), "sentence": self.sentence()}


def is_general(task: str) -> bool:
    """Whether a task is a part of the suite."""
    return task in PARTS


def judge_forgetting(results: Iterable[TaskResult], tolerance: float) -> list[Kept]:
    """The parts of the suite among some results, each against the tolerance."""
    return [
        judge_scores(
            result.task,
            result.metric,
            result["base"].scores,
            result["tuned"].scores,
            tolerance,
            weights=result["base"].weights,
            lower_is_better=result.lower_is_better,
            is_share=result.is_share,
        )
        for result in results
        if is_general(result.task) and "base" in result and "tuned" in result
    ]


def judge_scores(
    task: str,
    metric: str,
    before: Sequence[float],
    after: Sequence[float],
    tolerance: float,
    *,
    weights: Sequence[float] | None = None,
    lower_is_better: bool = False,
    is_share: bool = True,
) -> Kept:
    """One part, from scores on the same rows.

    Args:
        before: Of the base model.
        after: Of the tuned model.
        tolerance: Loss that is accepted: of a share in hundredths, else relative to the base model's score.
        weights: How much each row counts in the score.
    """
    sides, weights = _relative(before, after, weights) if not is_share else ((after, before), weights)
    mean, low, high = paired_difference(*sides, weights=weights)
    change = Interval(-mean, -high, -low) if lower_is_better else Interval(mean, low, high)
    answer = _answer(change, tolerance, len(before))
    needed = None
    if answer == "too few rows to tell" and not math.isclose(change.mean, -tolerance):
        # From the interval's width, so that weights count; rows that suffice already were unlucky ones.
        deviation = (
            (change.high - change.low) / 2 / float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * math.sqrt(len(before))
        )
        needed = max(rows_needed(abs(change.mean + tolerance), deviation), len(before) + 1)
    return Kept(task, metric, change, tolerance, len(before), answer, needed, is_share)


def _relative(
    before: Sequence[float], after: Sequence[float], weights: Sequence[float] | None
) -> tuple[tuple[list[float], list[float]], list[float]]:
    """Growth row by row, weighed so that the mean is the growth of the whole: Σ w (after − before) / Σ w before."""
    shares = [1.0] * len(before) if weights is None else list(weights)
    base = np.maximum(np.asarray(before, dtype=np.float64), 1e-12)
    grown = (np.asarray(after, dtype=np.float64) / base).tolist()
    return (grown, [1.0] * len(before)), (np.asarray(shares) * base).tolist()


def _answer(change: Interval, tolerance: float, num_rows: int) -> Answer:
    if num_rows < MIN_ROWS:
        return "too few rows to tell"
    if change.low >= -tolerance:
        return "kept"
    return "forgotten" if change.high < -tolerance else "too few rows to tell"


def forgetting_check(parts: Sequence[Kept]) -> Check:
    """Failed where a part is forgotten. What the rows cannot tell does not fail it, and is named."""
    forgotten = [part.task for part in parts if part.answer == "forgotten"]
    open_ = [part.task for part in parts if part.answer == "too few rows to tell"]
    words = [f"forgotten: {', '.join(forgotten)}"] if forgotten else []
    words += [f"too few rows to tell: {', '.join(open_)}"] if open_ else []
    tolerance = parts[0].tolerance
    return Check(
        name=CHECK_NAME,
        claim=f"What the base model could do is kept: on no part of the general suite is more than {100 * tolerance:g} points "
        f"lost (of bits per byte: {100 * tolerance:g} %).",
        measured="; ".join(words) or f"kept: {', '.join(part.task for part in parts)}",
        limit="nothing forgotten",
        unit="",
        passed=not forgotten,
        advice="Mix general rows into the training data (luthier data mix train.jsonl:0.8 general.jsonl:0.2), train fewer "
        "epochs or with a lower train.learning_rate, take a smaller adapter.rank, or accept it: raise "
        "evaluate.forgetting_tolerance.",
    )


def forgetting_markdown(parts: Sequence[Kept]) -> str:
    """The gate as a list for summary files."""
    return "\n".join(
        ["# Forgetting: tuned against base on the general suite", "", *(f"- {p.sentence()}" for p in parts)]
    )
