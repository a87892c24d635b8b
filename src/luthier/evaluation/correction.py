"""What remains of the verdicts once it counts how many comparisons were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from luthier.evaluation.compare import Comparison
from luthier.evaluation.statistics.intervals import CONFIDENCE
from luthier.evaluation.statistics.multiple import benjamini_hochberg, holm


class Corrected(NamedTuple):
    """One comparison among many.

    Attributes:
        holm: Adjusted p-value: below 0.05 even one false claim among all is unlikely.
        benjamini_hochberg: Adjusted p-value: of all claims below 0.05 at most 5 % are false, on average.
    """

    task: str
    comparison: Comparison
    holm: float
    benjamini_hochberg: float

    @property
    def is_lost(self) -> bool:
        """Whether it says better or worse by itself, and no more once all are counted."""
        return self.comparison.verdict in ("better", "worse") and self.holm > 1 - CONFIDENCE

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "task": self.task,
            "first": self.comparison.first,
            "second": self.comparison.second,
            "p_value": self.comparison.p_value,
            "holm": self.holm,
            "benjamini_hochberg": self.benjamini_hochberg,
        }


def correct(comparisons: Sequence[tuple[str, Comparison]]) -> list[Corrected]:
    """Adjust the p-values of all comparisons of an evaluation, given with the names of their tasks."""
    if not comparisons:
        return []
    p_values = [comparison.p_value for _, comparison in comparisons]
    adjusted = zip(comparisons, holm(p_values), benjamini_hochberg(p_values), strict=True)
    return [Corrected(task, comparison, by_holm, by_bh) for (task, comparison), by_holm, by_bh in adjusted]


def correction_sentence(corrected: Sequence[Corrected]) -> str:
    """For people; empty where there is nothing to correct for, or no verdict to lose."""
    if len(corrected) < 2 or not any(c.comparison.verdict in ("better", "worse") for c in corrected):
        return ""
    lost = [f"{c.task} ({c.comparison.first} − {c.comparison.second})" for c in corrected if c.is_lost]
    if not lost:
        return f"All verdicts hold after correction for {len(corrected)} comparisons (Holm)."
    return (
        f"After correction for {len(corrected)} comparisons (Holm) there is no evidence left for: {', '.join(lost)}. Among so "
        "many one such difference may be chance."
    )
