"""A curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.runs.curves import thinned

BLOCKS, PLAIN = "▁▂▃▄▅▆▇█", "_.-=+*#@"


def sparkline(
    values: Sequence[float], width: int, *, low: float | None = None, high: float | None = None, encoding: str = "utf-8"
) -> str:
    """Values from first to last as blocks of eight heights, at most `width` of them.

    Args:
        values: Finite numbers.
        width: Most characters.
        low: Bottom of the scale; None for the least value. Several curves compare only on one scale.
        high: Top of the scale; None for the greatest value.
        encoding: Of the output; where it has no blocks, ASCII stands for them.
    """
    points = thinned(values, width)
    if not points:
        return ""
    bottom, top = min(points) if low is None else low, max(points) if high is None else high
    marks = BLOCKS if "utf" in encoding.lower() else PLAIN
    span = top - bottom
    if span <= 0:
        return marks[0] * len(points)
    return "".join(marks[min(7, max(0, int((value - bottom) / span * 8)))] for value in points)
