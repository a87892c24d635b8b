"""Applies repairs to rows, one row at a time: what is changed, what is dropped, and what is left although it was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from luthier.data.any_rows import AnyItem, RecognisedFile
from luthier.data.clean.repair import Drop, Given, Judge, Mend, Repair, RepairRow, RowJudge
from luthier.data.ledger import Change
from luthier.data.messages import BadRowError
from luthier.data.row import Row
from luthier.data.text_places import value_at

_MOST_ROUNDS = 8


class Cleaned(NamedTuple):
    """What became of a row.

    Attributes:
        row: The row now.
        changes: In their order.
        left: Names of repairs that could not repair all.
        dropped_by: The repair that drops it, or "".
        reason: Why.
    """

    row: RepairRow
    changes: list[Change]
    left: list[str]
    dropped_by: str = ""
    reason: str = ""


class Cleaner:
    """One pass of some repairs over all rows, in order.

    Args:
        repairs: From `catalogue.choose_repairs`.
        given: What some of them need.
        columns: ``{part: column}`` where names differ.
        looked: Judges that have looked at all rows, by name. Without them repairs that must look first say only what they can
            say at once.
    """

    def __init__(
        self,
        repairs: Sequence[Repair],
        given: Given,
        columns: Mapping[str, str],
        looked: Mapping[str, Judge] | None = None,
    ) -> None:
        self._given = given
        self._columns = columns
        self._mends = [(r, r.start(given)) for r in repairs if isinstance(r, Mend)]
        drops = [repair for repair in repairs if isinstance(repair, Drop)]
        self._judges: list[tuple[str, Judge]] = [(r.name, r.start()) for r in drops if not r.looks_first]
        self._judges[:0] = [(r.name, RowJudge(r.at_once)) for r in drops if r.at_once]
        self._judges += list((looked or {}).items())

    def clean(self, file: RecognisedFile, row: Row, item: AnyItem, number: int) -> Cleaned:
        """The next row; `item` is what it says, `number` counts from 0 over all files."""
        mended, changes = self._mend(RepairRow(row.value, item, file, row, number, self._columns))
        for name, judge in self._judges:
            reason = judge.reason(mended)
            if reason is not None:
                return Cleaned(mended, changes, [], name, reason)
        left = [repair.name for repair, _ in self._mends if repair.is_left(mended.lint, self._given)]
        return Cleaned(mended, changes, left)

    def _mend(self, row: RepairRow) -> tuple[RepairRow, list[Change]]:
        changes: list[Change] = []
        for _ in range(_MOST_ROUNDS):
            num_before = len(changes)
            for repair, edits_of in self._mends:
                edits = list(edits_of(row))
                if not edits:
                    continue
                try:
                    mended = row.edited(edits)
                except BadRowError:  # nothing would be left of it: `left` names the row
                    continue
                changes += [Change(repair.name, e.path, value_at(row.values, e.path), e.after) for e in edits]
                row = mended
            if len(changes) == num_before:
                break
        return row, changes
