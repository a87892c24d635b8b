"""Several runs of one recipe that differ in the seed alone: how far do they lie apart?

An interval over rows says how sure one run's score is; it knows nothing of what another seed would have given. A method is
better than another only if the difference is larger than this spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from luthier.evaluation.statistics.intervals import CONFIDENCE


class SeedSpread(NamedTuple):
    """Scores of several runs.

    Attributes:
        deviation: Standard deviation between the runs.
        low: Lower limit of the mean of all such runs (Student's t).
    """

    num_runs: int
    mean: float
    deviation: float
    low: float
    high: float

    def sentence(self) -> str:
        """For people, in points (hundredths of the score)."""
        mean, deviation, low, high = (100 * x for x in (self.mean, self.deviation, self.low, self.high))
        return (
            f"{self.num_runs} runs: mean {mean:.1f} points, {deviation:.1f} points from seed to seed (standard deviation); the "
            f"mean of such runs lies in {low:.1f} to {high:.1f} (95 % interval)."
        )


def seed_spread(scores: Sequence[float], *, confidence: float = CONFIDENCE) -> SeedSpread:
    """Spread of the scores of at least two runs."""
    if len(scores) < 2:
        raise ValueError(f"A spread needs at least two runs, not {len(scores)}.")
    mean, deviation = float(np.mean(scores)), float(np.std(scores, ddof=1))
    half = float(stats.t.ppf(0.5 + confidence / 2, len(scores) - 1)) * deviation / math.sqrt(len(scores))
    return SeedSpread(len(scores), mean, deviation, mean - half, mean + half)
