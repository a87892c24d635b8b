"""Finds: classes that are rare or overwhelming, where the answers are a few short labels.

Hurts: with nine tenths of one label, always answering it looks 90 % right; a label with three rows is not learnt.
Do: collect rows of the rare labels, or repeat them; judge the result by label, not by the mean.
"""

from __future__ import annotations

from collections.abc import Iterable

from luthier.data.lint.row import Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, finding, shown
from luthier.types import Finding, Severity
from luthier.units import format_share

_MOST_LABELS = 200
_LONGEST_LABEL = 40
_LEAST_ROWS = 50
_LEAST_MEAN_ROWS = 5
"""Labels repeat: with fewer rows a label on average, short answers are just short answers."""
_OVERWHELMING = 0.8
_TIMES_RARER = 20
_FEW_ROWS = 5


class ClassImbalance:
    """The rule."""

    name = "class_imbalance"
    severity: Severity = "warning"
    kinds: Kinds = frozenset({"chat", "classification"})
    looks_at = "answers that are labels"

    def start(self) -> _Labels:
        """A fresh pass."""
        return _Labels(self)


class _Labels:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._counts: dict[str, int] | None = {}
        self._first: dict[str, int] = {}

    def see(self, row: LintRow) -> None:
        if self._counts is None or not row.answers:
            return
        label = row.answers[-1].strip()
        if len(label) > _LONGEST_LABEL or (label not in self._counts and len(self._counts) >= _MOST_LABELS):
            self._counts = None  # these answers are no labels
            return
        self._counts[label] = self._counts.get(label, 0) + 1
        self._first.setdefault(label, row.number)

    def findings(self, places: Places) -> Iterable[Finding]:
        counts = self._counts or {}
        total = sum(counts.values())
        if total < max(_LEAST_ROWS, _LEAST_MEAN_ROWS * len(counts)) or len(counts) < 2:
            return
        ordered = sorted(counts, key=lambda label: -counts[label])
        most = ordered[0]
        rare = [n for n in ordered if counts[n] < _FEW_ROWS or counts[n] * _TIMES_RARER < counts[most]]
        if counts[most] < _OVERWHELMING * total and not rare:
            return
        words = [f"{shown(label, 20)!r} has {counts[label]:,}" for label in (ordered[-1:] if rare else ordered[1:2])]
        yield finding(
            self._rule,
            places.first(sorted(self._first[label] for label in rare)),
            sum(counts[label] for label in rare),
            f"The answers are {len(counts)} labels, unevenly spread: {shown(most, 20)!r} has {counts[most]:,} of "
            f"{total:,} rows "
            f"({format_share(counts[most] / total)}), {words[0]}. Always answering {shown(most, 20)!r} would be right "
            "as often.",
            "Collect rows of the rare labels or repeat them, and judge the result label by label.",
            ", ".join(f"{shown(label, 16)}: {counts[label]}" for label in ordered[:6]),
        )


RULE: Rule = ClassImbalance()
