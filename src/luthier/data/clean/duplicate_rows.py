"""Rows that have the same words as an earlier one go, whatever their case, spacing and punctuation.

Not done unless asked for: ``a < b`` and ``a > b`` have the same words.
"""

from __future__ import annotations

from luthier.data.clean.repair import Drop, RepairRow
from luthier.data.equality import class_of


class _Seen:
    def __init__(self) -> None:
        self._firsts: dict[tuple[int, str], str] = {}

    def look(self, row: RepairRow) -> None:
        pass

    def reason(self, row: RepairRow) -> str | None:
        place = str(row.where)
        first = self._firsts.setdefault((row.lint.content_hash, class_of(row.values, row.file.format)), place)
        return None if first == place else f"has the same words as {first}"


REPAIR = Drop("duplicate_rows", "drop rows of the same words as an earlier one", False, _Seen)
