"""The difference of two shares on different rows, with its interval: training rows against held-out rows."""

from __future__ import annotations

import math

from luthier.evaluation.statistics.intervals import CONFIDENCE, Interval, wilson


def newcombe(
    first_right: int, first_rows: int, second_right: int, second_rows: int, *, confidence: float = CONFIDENCE
) -> Interval:
    """First share − second share, from the score intervals of both (Newcombe 1998, Statist. Med. 17:873, method 10)."""
    a, b = (
        wilson(first_right, first_rows, confidence=confidence),
        wilson(second_right, second_rows, confidence=confidence),
    )
    difference = a.mean - b.mean
    low = difference - math.hypot(a.mean - a.low, b.high - b.mean)
    high = difference + math.hypot(a.high - a.mean, b.mean - b.low)
    return Interval(difference, low, high)
