"""Finds: rows that are nearly equal to another row (80 % of their word 5-shingles), system messages left out.

Hurts: like repetition, only unseen: a few templates with changed names can fill half a data set, and the validation
loss looks better than it is where the near copies sit on both sides.
Do: keep one of each group, or make the rows differ in more than names.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable

from luthier.data.lint.row import ALL_KINDS, Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, count_of, finding
from luthier.types import Finding, Severity, Source


class NearDuplicates:
    """The rule."""

    name = "near_duplicates"
    severity: Severity = "warning"
    kinds: Kinds = ALL_KINDS
    looks_at = "whole rows, compared by runs of five words"

    def start(self) -> _Compared:
        """A fresh pass."""
        return _Compared(self)


class _Compared:
    def __init__(self, rule: Rule) -> None:
        from luthier.data.near_duplicates import ShingleStore  # numpy: only where it is used

        self._rule = rule
        self._seen: set[int] = set()
        self._store = ShingleStore()
        self._numbers: array[int] = array("q")

    def see(self, row: LintRow) -> None:
        if row.words_hash not in self._seen:  # exact duplicates are another rule's
            self._seen.add(row.words_hash)
            self._store.add(row.words.compared)
            self._numbers.append(row.number)

    def findings(self, places: Places) -> Iterable[Finding]:
        pairs = self._store.near_duplicate_pairs()
        if not pairs:
            return
        group = _grouped(pairs)
        sizes = Counter(group.values())
        again = sorted(self._numbers[text] for text, first in group.items() if text != first)
        largest, size = max(sizes.items(), key=lambda pair: (pair[1], -pair[0]))
        (place,) = places.first([self._numbers[largest]]) or ("",)
        most = f"; the largest group has {size} rows, from {place} on" if size > 2 and place else ""
        like = places.first([self._numbers[min(group[text] for text in group if self._numbers[text] == again[0])]])
        are, groups = "is" if len(again) == 1 else "are", "1 group" if len(sizes) == 1 else f"{len(sizes)} groups"
        yield finding(
            self._rule,
            places.first(again),
            len(again),
            f"{count_of(len(again), len(places))} {are} nearly equal to an earlier row, in {groups}{most}.",
            "Keep one of each group, or make the rows differ in more than names and numbers.",
            f"nearly equal to {_short(like[0], places.first(again[:1])[0])}" if like else "",
        )


def _short(place: Source, beside: Source) -> str:
    """The line alone where both are in one file."""
    return f"line {place.line}" if place.file == beside.file else str(place)


def _grouped(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """For each text in a pair the first text of its group (union-find)."""
    parent: dict[int, int] = {}

    def root(text: int) -> int:
        while parent.setdefault(text, text) != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {text: root(text) for text in list(parent)}


RULE: Rule = NearDuplicates()
