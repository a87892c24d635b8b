"""Do judge and people agree, beyond what chance alone would give? Cohen's kappa with its interval.

Of categories (won, tied, lost): Cohen 1960. Of grades: with quadratic weights (Cohen 1968), so that one grade off is little.
The interval is the large-sample one of Fleiss, Cohen and Everitt 1969.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from luthier.evaluation.statistics.intervals import CONFIDENCE, Interval


class Agreement(NamedTuple):
    """How well two judge alike.

    Attributes:
        kappa: 1 is perfect, 0 is chance; None where both always say the same one thing, which tells nothing.
        share_equal: Rows on which they say the same.
    """

    kappa: Interval | None
    share_equal: float
    num_rows: int

    def sentence(self, judge: str, people: str) -> str:
        """For people."""
        equal = f"{judge} says the same as {people} on {100 * self.share_equal:.0f} % of {self.num_rows} rows"
        if self.kappa is None:
            return f"{equal}; both always say one thing, so agreement beyond chance cannot be told."
        mean, low, high = self.kappa
        return f"{equal}; agreement beyond chance: kappa {mean:.2f} (95 % interval {low:.2f} to {high:.2f})."

    def to_json(self) -> dict[str, Any]:
        """For summary.json."""
        kappa = None if self.kappa is None else self.kappa.to_json()
        return {"kappa": kappa, "share_equal": self.share_equal, "num_rows": self.num_rows}


def agreement(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    categories: Sequence[Hashable],
    *,
    quadratic: bool = False,
    confidence: float = CONFIDENCE,
) -> Agreement:
    """Cohen's kappa of two who judged the same rows.

    Args:
        first: What one said, row by row.
        second: What the other said.
        categories: All that can be said, in their order.
        quadratic: Whether categories are grades, and being off by more is worse.
        confidence: Of the interval.
    """
    num_rows, size = len(first), len(categories)
    if num_rows != len(second) or not num_rows:
        raise ValueError(f"Agreement needs the same rows on both sides: {num_rows} and {len(second)} were given.")
    place = {category: index for index, category in enumerate(categories)}
    counts = np.zeros((size, size))
    np.add.at(counts, ([place[c] for c in first], [place[c] for c in second]), 1)
    shares = counts / num_rows
    weights = np.eye(size)
    if quadratic:
        weights = 1 - np.subtract.outer(np.arange(size), np.arange(size)) ** 2 / (size - 1) ** 2
    rows, columns = shares.sum(1), shares.sum(0)
    seen, chance = float((weights * shares).sum()), float((weights * np.outer(rows, columns)).sum())
    equal = float(np.trace(counts)) / num_rows
    if math.isclose(chance, 1):
        return Agreement(None, equal, num_rows)
    kappa = (seen - chance) / (1 - chance)
    off = np.add.outer(weights @ columns, weights @ rows) * (1 - kappa)
    variance = float((shares * (weights - off) ** 2).sum()) - (kappa - chance * (1 - kappa)) ** 2
    half = stats.norm.ppf(0.5 + confidence / 2) * math.sqrt(max(variance, 0.0) / num_rows) / (1 - chance)
    return Agreement(Interval(kappa, float(kappa - half), float(min(1.0, kappa + half))), equal, num_rows)
