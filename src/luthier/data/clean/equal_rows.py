"""Rows that equal an earlier one in everything that is learnt go; case, punctuation and spacing inside texts count."""

from __future__ import annotations

from luthier.data.clean.repair import Drop, RepairRow
from luthier.data.equality import class_of, equality_digest


class _Seen:
    def __init__(self) -> None:
        self._firsts: dict[bytes, str] = {}

    def look(self, row: RepairRow) -> None:
        pass

    def reason(self, row: RepairRow) -> str | None:
        place = str(row.where)
        first = self._firsts.setdefault(equality_digest(row.item, class_of(row.values, row.file.format)), place)
        return None if first == place else f"equals {first}"


REPAIR = Drop("equal_rows", "drop rows that equal an earlier one", True, _Seen)
