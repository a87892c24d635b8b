"""Is one contender better than another? Paired differences with intervals, and how many rows it takes to know.

Both contenders answer the same questions, so what counts is the difference on each question: its spread is smaller than
that of either score, and its interval is the one that must exclude zero.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Verdict = Literal["better", "worse", "no evidence", "too few rows"]

CONFIDENCE = 0.95
POWER = 0.8
NUM_RESAMPLES = 9_999
MIN_ROWS = 20
"""Below this the bootstrap's intervals are too narrow to be believed, so no verdict is given."""


class Interval(NamedTuple):
    """A mean with the limits of its confidence interval."""

    mean: float
    low: float
    high: float

    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, float]:
        """{"mean", "low", "high"}."""
        return self._asdict()


class Comparison(NamedTuple):
    """First contender minus second, on the same rows.

    Attributes:
        rows_needed: Rows that would show a true difference as large as the one seen with 80 % probability; None where
            the difference seen is zero, which no number of rows would show.
    """

    first: str
    second: str
    difference: Interval
    num_rows: int
    verdict: Verdict
    rows_needed: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values for summary.json."""
        return {**self._asdict(), "difference": self.difference.to_json()}

    def sentence(self) -> str:
        """The comparison for people, in points (hundredths of the score)."""
        mean, low, high = (f"{100 * value:+.1f}" for value in self.difference)
        seen = f"{self.first} − {self.second}: {mean} points (95 % interval {low} to {high}, {self.num_rows} rows)"
        if self.verdict in ("better", "worse"):
            return f"{seen}: {self.first} is {self.verdict}."
        needed = (
            "" if self.rows_needed is None else f" A true difference of this size needs about {self.rows_needed} rows."
        )
        if self.verdict == "too few rows":
            return f"{seen}: too few rows for a verdict, at least {MIN_ROWS} are needed.{needed}"
        return f"{seen}: no evidence of a difference.{needed}"


def compare(
    first: Sequence[float], second: Sequence[float], *, names: tuple[str, str] = ("first", "second"), seed: int = 0
) -> Comparison:
    """Compare scores (0 to 1) of two contenders, row by row."""
    differences = _differences(first, second)
    interval = paired_difference(first, second, seed=seed)
    needed = None
    if interval.mean != 0:
        needed = rows_needed(abs(interval.mean), float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0)
    return Comparison(*names, interval, len(differences), verdict(interval, len(differences)), needed)


def verdict(difference: Interval, num_rows: int) -> Verdict:
    """In words what an interval allows to say."""
    if num_rows < MIN_ROWS:
        return "too few rows"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no evidence"


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of first − second with a bootstrap interval (BCa, Efron 1987) over the rows; scores lie in 0 to 1."""
    differences = _differences(first, second)
    mean = float(np.mean(differences))
    if np.ptp(differences) == 0:
        return _interval_of_equal_values(mean, len(differences), lowest=-1.0, highest=1.0, confidence=confidence)
    return Interval(mean, *_bootstrap(differences, confidence, num_resamples, seed))


def mean_score(scores: Sequence[float], *, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """Mean of scores with its interval: Wilson's where all are 0 or 1, else bootstrap."""
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        raise ValueError("There are no scores to take a mean of.")
    if np.isin(values, (0.0, 1.0)).all():
        return wilson(int(values.sum()), len(values), confidence=confidence)
    mean = float(np.mean(values))
    if np.ptp(values) == 0:
        return _interval_of_equal_values(mean, len(values), lowest=0.0, highest=1.0, confidence=confidence)
    return Interval(mean, *_bootstrap(values, confidence, NUM_RESAMPLES, seed))


def wilson(num_right: int, num_rows: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of a proportion (Wilson 1927): sensible also at 0 and at 1."""
    z = stats.norm.ppf(0.5 + confidence / 2)
    share = num_right / num_rows
    denominator = 1 + z**2 / num_rows
    centre = (share + z**2 / (2 * num_rows)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / num_rows + z**2 / (4 * num_rows**2))
    low = 0.0 if num_right == 0 else float(centre - half)
    high = 1.0 if num_right == num_rows else float(centre + half)
    return Interval(share, low, high)


def rows_needed(difference: float, deviation: float, *, confidence: float = CONFIDENCE, power: float = POWER) -> int:
    """Rows that a paired comparison needs to see a true `difference` with probability `power`.

    n = ((z_{1 − α/2} + z_{power}) · deviation / difference)², the usual normal approximation; at least `MIN_ROWS`.

    Args:
        deviation: Standard deviation of the row-wise differences.
    """
    if difference <= 0:
        raise ValueError(f"The difference to be seen must be above 0, not {difference}.")
    z_sum = stats.norm.ppf(0.5 + confidence / 2) + stats.norm.ppf(power)
    return max(MIN_ROWS, math.ceil((z_sum * deviation / difference) ** 2))


def _differences(first: Sequence[float], second: Sequence[float]) -> NDArray[np.float64]:
    if len(first) != len(second) or not len(first):
        raise ValueError(
            f"A paired comparison needs the same rows on both sides: {len(first)} and {len(second)} were given."
        )
    return np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)


def _bootstrap(values: NDArray[np.float64], confidence: float, num_resamples: int, seed: int) -> tuple[float, float]:
    """BCa limits; where BCa is not defined (scipy gives NaN for some tiny, lopsided samples) the percentile limits."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            found = stats.bootstrap(
                (values,),
                np.mean,
                confidence_level=confidence,
                n_resamples=num_resamples,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            return float(found.low), float(found.high)
    raise AssertionError(f"no bootstrap interval for {values}")


def _interval_of_equal_values(
    value: float, num_rows: int, *, lowest: float, highest: float, confidence: float
) -> Interval:
    """Limits where all rows agree and a bootstrap would claim certainty.

    Rows of another kind that did not turn up have at most the share 1 − (α/2)^(1/n) (Clopper and Pearson 1934, nothing
    seen); at worst each of them lies at the end of the range.
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / num_rows)
    return Interval(value, value - unseen * (value - lowest), value + unseen * (highest - value))
