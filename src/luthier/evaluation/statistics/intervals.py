"""A mean with its limits, and the intervals of shares."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy import stats

CONFIDENCE = 0.95


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


def interval_of_equal_values(
    value: float, num_rows: int, *, lowest: float, highest: float, confidence: float = CONFIDENCE
) -> Interval:
    """Limits where all rows agree and a bootstrap would claim certainty.

    Rows of another kind that did not turn up have at most the share 1 − (α/2)^(1/n) (Clopper and Pearson 1934, nothing
    seen); at worst each of them lies at the end of the range.
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / num_rows)
    return Interval(value, value - unseen * (value - lowest), value + unseen * (highest - value))
