"""Finds: rows that repeat an earlier row, but for case, spacing and punctuation.

Hurts: they count several times, are learnt by heart, and leak from training into validation where rows are split
elsewhere.
Do: keep one of each, unless the repetition is meant.
"""

from __future__ import annotations

from collections.abc import Iterable

from luthier.data.lint.row import ALL_KINDS, Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, count_of, finding
from luthier.types import Finding, Severity


class DuplicateRows:
    """The rule."""

    name = "duplicate_rows"
    severity: Severity = "warning"
    kinds: Kinds = ALL_KINDS
    looks_at = "whole rows, compared by their words"

    def start(self) -> _Seen:
        """A fresh pass."""
        return _Seen(self)


class _Seen:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._keys: dict[int, int] = {}
        self._again: list[int] = []
        self._example = ""

    def see(self, row: LintRow) -> None:
        first = self._keys.setdefault(row.content_hash, row.number)
        if first != row.number:
            self._again.append(row.number)
            self._example = self._example or row.answered or row.whole

    def findings(self, places: Places) -> Iterable[Finding]:
        if self._again:
            number = count_of(len(self._again), len(places))
            repeat = "repeats" if len(self._again) == 1 else "repeat"
            yield finding(
                self._rule,
                places.first(self._again),
                len(self._again),
                f"{number} {repeat} an earlier row (but for case, spacing and punctuation): they count several times.",
                "Remove them, unless the repetition is meant.",
                self._example,
            )


RULE: Rule = DuplicateRows()
