"""Rows with an answer that stops in the middle go.

Whether prose without a full stop was cut by a limit shows in all answers together: they are looked at first. When those at the
limit are taken away there may be a lower one below; so long as the rule would find one, its rows go too.
"""

from __future__ import annotations

from array import array

from luthier.data.clean.repair import Drop, RepairRow
from luthier.data.lint.row import LintRow
from luthier.data.lint.truncated_answers import at_the_limit, ends_in_prose, is_cut


class _Ends:
    def __init__(self) -> None:
        self._rows: array[int] = array("q")
        self._lengths: array[int] = array("q")
        self._suspects: dict[int, int] = {}
        self._at_limit: set[int] | None = None

    def look(self, row: RepairRow) -> None:
        for answer in row.lint.answers:
            self._rows.append(row.number)
            self._lengths.append(len(answer))
            if ends_in_prose(answer):
                self._suspects[row.number] = len(answer)

    def reason(self, row: RepairRow) -> str | None:
        if self._at_limit is None:
            self._at_limit = self._find_limits()
        return "an answer stops in the middle, where a limit cut many" if row.number in self._at_limit else None

    def _find_limits(self) -> set[int]:
        gone: set[int] = set()
        while True:
            lengths = [n for row, n in zip(self._rows, self._lengths, strict=True) if row not in gone]
            more = at_the_limit(lengths, {row: n for row, n in self._suspects.items() if row not in gone})
            if not more:
                return gone
            gone |= more


def _is_cut(row: LintRow) -> str | None:
    return "an answer stops in the middle" if any(map(is_cut, row.answers)) else None


REPAIR = Drop(
    "truncated_answers",
    "drop rows with an answer that stops in the middle",
    False,
    _Ends,
    looks_first=True,
    at_once=_is_cut,
)
