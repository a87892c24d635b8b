"""Is one contender better than another? Paired differences with intervals, and how many rows it takes to know.

Both contenders answer the same questions, so what counts is the difference on each question: its spread is smaller than
that of either score, and its interval is the one that must exclude zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from luthier.evaluation.statistics.intervals import Interval
from luthier.evaluation.statistics.paired import are_binary, differences_of, paired_difference
from luthier.evaluation.statistics.power import MIN_ROWS, rows_needed, rows_needed_binary
from luthier.evaluation.statistics.significance import TestName, paired_test

Verdict = Literal["better", "worse", "no evidence", "too few rows"]


class Comparison(NamedTuple):
    """First contender minus second, on the same rows.

    Attributes:
        rows_needed: Rows that would show a true difference as large as the one seen with 80 % probability; None where
            the difference seen is zero, which no number of rows would show.
        p_value: Two-sided, of `test`; not corrected for other comparisons.
        lower_is_better: Whether a negative difference is the better one.
        is_share: Whether scores are shares: differences are told in points.
    """

    first: str
    second: str
    difference: Interval
    num_rows: int
    verdict: Verdict
    rows_needed: int | None
    p_value: float
    test: TestName
    lower_is_better: bool = False
    is_share: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values for summary.json."""
        return {**self._asdict(), "difference": self.difference.to_json()}

    def sentence(self) -> str:
        """The comparison for people, in points (hundredths of the score) where scores are shares."""
        scale, unit = (100, " points") if self.is_share else (1, "")
        mean, low, high = (f"{scale * value:+.{1 if self.is_share else 4}f}" for value in self.difference)
        seen = f"{self.first} − {self.second}: {mean}{unit} (95 % interval {low} to {high}, {self.num_rows} rows)"
        if self.verdict in ("better", "worse"):
            return f"{seen}: {self.first} is {self.verdict}."
        needed = (
            "" if self.rows_needed is None else f" A true difference of this size needs about {self.rows_needed} rows."
        )
        if self.verdict == "too few rows":
            return f"{seen}: too few rows for a verdict, at least {MIN_ROWS} are needed.{needed}"
        return f"{seen}: no evidence of a difference.{needed}"


def compare(
    first: Sequence[float],
    second: Sequence[float],
    *,
    names: tuple[str, str] = ("first", "second"),
    weights: Sequence[float] | None = None,
    lower_is_better: bool = False,
    is_share: bool = True,
    seed: int = 0,
) -> Comparison:
    """Compare scores of two contenders, row by row.

    Args:
        first: Scores of one.
        second: Of the other, on the same rows.
        names: Of both.
        weights: How much each row counts; None: all alike, and scores lie in 0 to 1.
        lower_is_better: Whether a smaller score is the better one.
        is_share: Whether differences are told in points.
        seed: Of the resampling.
    """
    interval = paired_difference(first, second, weights=weights, seed=seed)
    significance = paired_test(first, second, weights=weights, seed=seed)
    return Comparison(
        first=names[0],
        second=names[1],
        difference=interval,
        num_rows=len(first),
        verdict=verdict(interval, len(first), lower_is_better=lower_is_better),
        rows_needed=_rows_needed(first, second, interval.mean, weights),
        p_value=significance.p_value,
        test=significance.test,
        lower_is_better=lower_is_better,
        is_share=is_share,
    )


def verdict(difference: Interval, num_rows: int, *, lower_is_better: bool = False) -> Verdict:
    """In words what an interval allows to say."""
    if num_rows < MIN_ROWS:
        return "too few rows"
    if not difference.excludes_zero():
        return "no evidence"
    return "better" if (difference.low > 0) is not lower_is_better else "worse"


def _rows_needed(
    first: Sequence[float], second: Sequence[float], mean: float, weights: Sequence[float] | None
) -> int | None:
    if mean == 0:
        return None
    differences = differences_of(first, second)
    if weights is None and are_binary(first, second):
        return rows_needed_binary(abs(mean), float((differences != 0).mean()))
    if len(differences) == 1:
        return rows_needed(abs(mean), 0.0)
    shares = np.full(len(differences), 1.0) if weights is None else np.asarray(weights) / np.mean(weights)
    # Of the ratio Σwd/Σw, by linearisation: one row moves it by w (d − mean).
    return rows_needed(
        abs(mean), math.sqrt(float((shares**2 * (differences - mean) ** 2).sum()) / (len(differences) - 1))
    )
