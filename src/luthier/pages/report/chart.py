"""Geometry of the report's drawings: where lines, bars and ticks lie, as shares of the drawing's width and height.

Shares, not pixels: the SVG is as wide as its column on any screen, while its text and strokes keep their size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from luthier.pages.report.words import number

MOST_POINTS = 400
MOST_COLUMN_LABELS = 6
Format = Callable[[float], str]


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in percent from the left or from the top."""

    percent: float
    label: str


@dataclass(frozen=True)
class Line:
    """One series: its path in a 1000 × 1000 box, and for each point where it lies (percent) and what it says."""

    name: str
    style: str
    path: str
    marks: tuple[tuple[float, float, str], ...]
    dots: bool


@dataclass(frozen=True)
class LineChart:
    """Series over steps, with the sentence that replaces the drawing for those who do not see it; events are steps to mark."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    description: str
    note: str
    events: tuple[Tick, ...] = ()


@dataclass(frozen=True)
class Series:
    """Values over steps, before they are drawn."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    unit: str = "",
    from_zero: bool = False,
    show: Format = number,
    events: Sequence[tuple[float, str]] = (),
) -> LineChart | None:
    """Draw series over steps, and mark steps by a word; None where none has a finite value."""
    finite = [Series(s.name, s.style, [p for p in s.points if math.isfinite(p[1])], s.dots) for s in series]
    num_lost = sum(len(s.points) for s in series) - sum(len(s.points) for s in finite)
    finite = [s for s in finite if s.points]
    if not finite:
        return None
    notes = [f"{num_lost} values were not finite and are not drawn."] if num_lost else []
    if any(len(s.points) > MOST_POINTS for s in finite):
        notes.append(f"Long series are drawn as means over equal stretches, at most {MOST_POINTS} of them.")
    description = "; ".join(_describe(s, show) for s in finite)
    finite = [Series(s.name, s.style, thinned(s.points), s.dots) for s in finite]
    xs = [x for s in finite for x, _ in s.points]
    ys = [y for s in finite for _, y in s.points]
    x_low, x_high = min(xs), max(xs)
    if x_low == x_high:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    y_values = nice_ticks(0.0 if from_zero else min(ys), max(ys))
    y_low, y_high = y_values[0], y_values[-1]

    def place(x: float, y: float) -> tuple[float, float]:
        return 100 * (x - x_low) / (x_high - x_low), 100 * (y_high - y) / (y_high - y_low)

    x_values = [x for x in nice_ticks(x_low, x_high, most=8) if x_low <= x <= x_high and float(x).is_integer()]
    return LineChart(
        title=title,
        unit=unit,
        lines=tuple(_line(s, place, show) for s in finite),
        x_ticks=tuple(Tick(round(place(x, y_low)[0], 2), number(x)) for x in x_values),
        y_ticks=tuple(Tick(round(place(x_low, y)[1], 2), show(y)) for y in y_values),
        description=f"{title} by step. {description}.",
        note=" ".join(notes),
        events=tuple(Tick(round(place(x, y_low)[0], 2), word) for x, word in events if x_low <= x <= x_high),
    )


def _line(series: Series, place: Callable[[float, float], tuple[float, float]], show: Format) -> Line:
    places = [place(x, y) for x, y in series.points]
    path = "M" + " L".join(f"{10 * x:.1f} {10 * y:.1f}" for x, y in places)
    marks = tuple(
        (round(px, 2), round(py, 2), f"step {number(round(x))}: {show(y)}")
        for (px, py), (x, y) in zip(places, series.points, strict=True)
    )
    return Line(series.name, series.style, path, marks, series.dots or len(places) == 1)


def _describe(series: Series, show: Format) -> str:
    (first_x, first), (last_x, last) = series.points[0], series.points[-1]
    if len(series.points) == 1:
        return f"{series.name}: {show(first)} at step {number(first_x)}"
    low, high = min(y for _, y in series.points), max(y for _, y in series.points)
    return (
        f"{series.name}: {show(first)} at step {number(first_x)}, {show(last)} at step {number(last_x)}, "
        f"between {show(low)} and {show(high)}"
    )


def thinned(points: Sequence[tuple[float, float]], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most `most` points: means over equal stretches."""
    if len(points) <= most:
        return list(points)
    edges = [round(i * len(points) / most) for i in range(most + 1)]
    stretches = [points[a:b] for a, b in itertools.pairwise(edges)]
    return [(sum(x for x, _ in s) / len(s), sum(y for _, y in s) / len(s)) for s in stretches]


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) that enclose the range."""
    if high <= low:
        margin = abs(low) * 0.1 or 0.5
        low, high = (0.0, high) if low == 0 < high else (low - margin, high + margin)
    raw = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


@dataclass(frozen=True)
class Bar:
    """A horizontal bar with its interval, in percent of the width."""

    width: float
    low: float
    high: float


def score_bar(mean: float, low: float, high: float) -> Bar:
    """A score from 0 to 1."""
    return Bar(*(round(100 * min(max(v, 0.0), 1.0), 2) for v in (mean, low, high)))


@dataclass(frozen=True)
class Column:
    """A column of a histogram: left edge, width and height in percent, its label and its count.

    Attributes:
        is_named: Whether there is room to write the label below it.
    """

    left: float
    width: float
    height: float
    label: str
    count: int
    is_named: bool

    @property
    def centre(self) -> float:
        """Where its label stands."""
        return round(self.left + self.width / 2, 2)


def histogram(bins: Sequence[tuple[str, int]]) -> tuple[Column, ...]:
    """Columns of equal width for labelled counts."""
    highest = max((count for _, count in bins), default=0)
    if not highest:
        return ()
    pitch = 100 / len(bins)
    every = -(-len(bins) // MOST_COLUMN_LABELS)
    return tuple(
        Column(
            left=round(i * pitch + pitch * 0.06, 2),
            width=round(pitch * 0.88, 2),
            height=round(100 * count / highest, 2),
            label=label,
            count=count,
            is_named=(len(bins) - 1 - i) % every == 0,
        )
        for i, (label, count) in enumerate(bins)
    )
