"""How a task's scores are shown: shares in percent and their differences in points, anything else as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.pages.report.chart import Bar, score_bar
from luthier.pages.report.words import interval_points, number, percent, points


@dataclass(frozen=True)
class Scale:
    """Scores of one task.

    Attributes:
        is_share: Whether they lie between 0 and 1.
        lower_is_better: Whether a smaller one is the better one.
        most: Where bars end.
        widest: Where the axis of differences ends, on both sides.
    """

    is_share: bool = True
    lower_is_better: bool = False
    most: float = 1.0
    widest: float = 1.0

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Scale:
        """Of a task's summary.json; those of earlier versions hold shares alone."""
        if summary.get("is_share", True):
            return cls(lower_is_better=summary.get("lower_is_better", False))
        most = max((abs(entry["high"]) for entry in summary["contenders"].values()), default=1.0)
        ends = [abs(c["difference"][end]) for c in summary["comparisons"] for end in ("low", "high")]
        return cls(False, summary["lower_is_better"], most or 1.0, max(ends, default=1.0) or 1.0)

    def score(self, value: float, decimals: int = 0) -> str:
        """A score."""
        return percent(value, decimals) if self.is_share else number(value)

    def score_interval(self, low: float, high: float) -> str:
        """Limits of a score."""
        if self.is_share:
            return f"{100 * low:.1f}…{100 * high:.1f} %"
        return f"{number(low)}…{number(high)}"

    def difference(self, value: float, decimals: int = 0) -> str:
        """A difference of two scores, with its sign."""
        if self.is_share:
            return points(value, decimals)
        return f"+{number(value)}" if value > 0 else number(value)

    def interval(self, low: float, high: float, decimals: int = 0) -> str:
        """Limits of a difference."""
        if self.is_share:
            return interval_points(low, high, decimals)
        return f"{self.difference(low)}…{self.difference(high)}"

    def bar(self, mean: float, low: float, high: float) -> Bar:
        """A score as a bar."""
        return score_bar(*(max(value, 0.0) / self.most for value in (mean, low, high)))

    def place(self, difference: float) -> float:
        """Where a difference lies on its axis, in percent."""
        return round(50 * (1 + min(max(difference / self.widest, -1.0), 1.0)), 2)

    @property
    def bar_title(self) -> str:
        """What bars go from and to."""
        return "0 to 100 %" if self.is_share else f"0 to {number(self.most)}"

    @property
    def axis_title(self) -> str:
        """What the axis of differences goes from and to."""
        end = "100" if self.is_share else number(self.widest)
        return f"−{end} · 0 · +{end}"

    @property
    def unit(self) -> str:
        """Of differences."""
        return "points" if self.is_share else "difference"
