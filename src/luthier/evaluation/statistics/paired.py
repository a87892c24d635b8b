"""The difference of two contenders on the same rows, with its interval.

Right or wrong on both sides: Tango's score interval (1998), which holds its level from small samples on. Anything else:
bootstrap over the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from luthier.evaluation.statistics.bootstrap import NUM_RESAMPLES, bootstrap_limits
from luthier.evaluation.statistics.intervals import CONFIDENCE, Interval, interval_of_equal_values, wilson

_BISECTIONS = 60

Floats = NDArray[np.float64]


def differences_of(first: Sequence[float], second: Sequence[float]) -> Floats:
    """First − second, row by row.

    Raises:
        ValueError: Not as many on both sides, or none.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(
            f"A paired comparison needs the same rows on both sides: {len(first)} and {len(second)} were given."
        )
    return np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)


def are_binary(*scores: Sequence[float]) -> bool:
    """Whether all are 0 or 1."""
    return all(np.isin(np.asarray(each, dtype=np.float64), (0.0, 1.0)).all() for each in scores)


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    *,
    weights: Sequence[float] | None = None,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Mean of first − second with its interval.

    Args:
        first: Scores of one contender.
        second: Of the other, on the same rows.
        weights: How much each row counts in the mean; None: all alike, and scores lie in 0 to 1.
    """
    differences = differences_of(first, second)
    if weights is not None:
        mean = float(np.average(differences, weights=weights))
        if len(differences) == 1 or np.ptp(differences) == 0:
            return Interval(mean, mean, mean)
        low, high = bootstrap_limits(
            differences, weights, confidence=confidence, num_resamples=num_resamples, seed=seed
        )
        return Interval(mean, float(low), float(high))
    mean = float(np.mean(differences))
    if np.ptp(differences) == 0:
        return interval_of_equal_values(mean, len(differences), lowest=-1.0, highest=1.0, confidence=confidence)
    if are_binary(first, second):
        won, lost = int((differences > 0).sum()), int((differences < 0).sum())
        low, high = tango(won, lost, len(differences), confidence=confidence)
        return Interval(mean, float(low), float(high))
    low, high = bootstrap_limits(differences, confidence=confidence, num_resamples=num_resamples, seed=seed)
    return Interval(mean, float(low), float(high))


def tango(
    num_won: ArrayLike, num_lost: ArrayLike, num_rows: ArrayLike, *, confidence: float = CONFIDENCE
) -> tuple[Floats, Floats]:
    """Limits of the difference of two paired proportions (Tango 1998, Statistics in Medicine 17:891-908).

    All differences δ for which |won − lost − nδ| ≤ z √(n (2 q(δ) + δ (1 − δ))), where q(δ) is the most likely share of lost
    rows if δ is true. At δ = 0 that is McNemar's test.

    Args:
        num_won: Rows that only the first has right; arrays give arrays.
        num_lost: Rows that only the second has right.
        num_rows: All rows.
    """
    won, lost, rows = (np.asarray(x, dtype=np.float64) for x in (num_won, num_lost, num_rows))
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    seen = (won - lost) / rows

    def limit(sign: float) -> Floats:
        inner, outer = seen + 0.0, np.full_like(seen, -sign)
        for _ in range(_BISECTIONS):
            middle = (inner + outer) / 2
            accepted = np.abs(won - lost - rows * middle) <= z * _deviation(middle, won, lost, rows)
            inner, outer = np.where(accepted, middle, inner), np.where(accepted, outer, middle)
        return inner

    return limit(1.0), limit(-1.0)


def _deviation(difference: Floats, won: Floats, lost: Floats, rows: Floats) -> Floats:
    """Standard deviation of won − lost if `difference` is the true one."""
    b = -won - lost + (2 * rows - won + lost) * difference
    c = -lost * difference * (1 - difference)
    share_lost = (np.sqrt(np.maximum(b**2 - 8 * rows * c, 0.0)) - b) / (4 * rows)
    return np.sqrt(np.maximum(rows * (2 * share_lost + difference * (1 - difference)), 0.0))


def mean_score(
    scores: Sequence[float], *, weights: Sequence[float] | None = None, confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """Mean of scores with its interval: Wilson's where all are 0 or 1, else bootstrap.

    Args:
        scores: Of one contender; in 0 to 1 unless they have weights.
        weights: How much each row counts; None: all alike.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        raise ValueError("There are no scores to take a mean of.")
    if weights is None and are_binary(scores):
        return wilson(int(values.sum()), len(values), confidence=confidence)
    mean = float(np.average(values, weights=weights))
    if np.ptp(values) == 0:
        if weights is not None:
            return Interval(mean, mean, mean)
        return interval_of_equal_values(mean, len(values), lowest=0.0, highest=1.0, confidence=confidence)
    low, high = bootstrap_limits(values, weights, confidence=confidence, seed=seed)
    return Interval(mean, float(low), float(high))
