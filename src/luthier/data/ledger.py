"""What was done to rows, written down so that it can be undone: rows + ledger + dropped rows → the rows that were read.

The ledger is a .jsonl file: a first line that says what it is; one line for each change (row, source, rule, path, before, after),
in order; after every 1,000 rows a line with a short hash of each as it was read; a last line with their number and the hash of
all. Rows count from 1. Dropped rows stand whole in a file of their own, with number and reason.

The ledger holds what was there before: where a secret was taken out, it is as secret as the data were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from luthier.data.open_file import is_compressed
from luthier.data.row import Row
from luthier.data.sources import read_rows
from luthier.data.text_places import PlacePath, value_at, with_value
from luthier.data.write_rows import RowFile
from luthier.errors import DataError
from luthier.types import Source

KIND = "luthier data ledger"
VERSION = 1
_HASHED_ROWS = 1000
_SHORT_DIGITS = 8


class Change(NamedTuple):
    """One place of a row before and after."""

    rule: str
    path: PlacePath
    before: Any
    after: Any


class Restored(NamedTuple):
    """A row as it was read.

    Attributes:
        values: The row.
        is_changed: Whether something in it had been changed.
        is_dropped: Whether it had been dropped.
    """

    values: dict[str, Any]
    is_changed: bool
    is_dropped: bool


def ledger_path(path: Path) -> Path:
    """``rows.jsonl`` → ``rows.ledger.jsonl``."""
    inner = Path(path.stem) if is_compressed(path) else path
    return path.with_name(f"{inner.stem}.ledger.jsonl")


class LedgerWriter:
    """Writes a ledger while rows are read, changed and dropped; `row` sees all of them, in order."""

    def __init__(self, file: RowFile) -> None:
        self._file = file
        self._whole = hashlib.blake2b(digest_size=32)
        self._short: list[str] = []
        self.num_rows = 0
        file.write({"kind": KIND, "version": VERSION})

    def row(self, row: Row, changes: Iterable[Change] = ()) -> None:
        """The next row as it was read, and what was changed in it; no changes for a dropped one."""
        self.num_rows += 1
        digest = row_digest(row.value, row.source)
        self._whole.update(digest)
        self._short.append(digest.hex()[:_SHORT_DIGITS])
        for change in changes:
            entry = {"row": self.num_rows, "source": str(row.source), **change._asdict(), "path": list(change.path)}
            self._file.write(entry, row.source)
        if len(self._short) == _HASHED_ROWS:
            self._write_hashes()

    def end(self) -> None:
        """No more rows."""
        self._write_hashes()
        self._file.write({"num_rows": self.num_rows, "hash": self._whole.hexdigest()})

    def _write_hashes(self) -> None:
        if self._short:
            first = self.num_rows - len(self._short) + 1
            self._file.write({"first_row": first, "hashes": "".join(self._short)})
            self._short = []


def dropped_entry(number: int, row: Row, rule: str, reason: str) -> dict[str, Any]:
    """A line of the file with dropped rows."""
    return {"number": number, "source": str(row.source), "rule": rule, "reason": reason, "row": row.value}


def row_digest(values: Mapping[str, Any], source: Source | None = None) -> bytes:
    """Hash of a row: equal for rows of equal columns in equal order with equal values.

    Raises:
        DataError: A value has no JSON form.
    """
    try:
        text = json.dumps(values, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source or 'a row'}: a value cannot be written as JSON: {error}") from error
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


def restore(path: Path, ledger: Path, dropped: Path | None) -> Iterator[Restored]:
    """The rows as they were read, in their order.

    Args:
        path: The rows that were written.
        ledger: What was changed.
        dropped: What was dropped; None where nothing can have been.

    Raises:
        DataError: The files do not belong together, or one was changed since: with the row.
    """
    kept = read_rows(path)
    gone, book = _Gone(dropped), _Ledger(ledger)
    whole, num_kept, number = hashlib.blake2b(digest_size=32), 0, 0
    for first, shorts, changes in book.blocks():
        if first != number + 1:
            raise DataError(f"{ledger}: rows {number + 1} to {first - 1} are missing from it.")
        for short in shorts:
            number += 1
            values = gone.take(number)
            is_dropped, place = values is not None, f"{dropped}: number {number}"
            if values is None:
                row = next(kept, None)
                if row is None:
                    raise DataError(f"{path} ends before row {number} of {ledger}: rows are missing from it.")
                num_kept, place = num_kept + 1, str(row.source)
                values = _reverted(row, changes.get(number, []))
            digest = row_digest(values)
            if digest.hex()[:_SHORT_DIGITS] != short:
                raise DataError(f"{place} is not what was written: restored, it is not the row that was read.")
            whole.update(digest)
            yield Restored(values, number in changes, is_dropped)
    if num_kept and (more := next(kept, None)) is not None:
        raise DataError(f"{more.source}: more rows than {ledger} knows of. Take them out, or split the file.")
    gone.require_none()
    if book.end != {"num_rows": number, "hash": whole.hexdigest()}:
        raise DataError(f"{ledger} has no end that fits its {number} rows: it is cut off or was changed.")


class _Gone:
    """Dropped rows, taken in the order of their numbers."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        # Nothing dropped leaves a file of 0 bytes, which is no data file.
        self._rows = read_rows(path) if path is not None and path.stat().st_size else iter(())
        self._next = next(self._rows, None)

    def take(self, number: int) -> dict[str, Any] | None:
        """The row of this number, if it is here."""
        waiting = self._next
        if waiting is None or waiting.value.get("number") != number:
            return None
        self._next = next(self._rows, None)
        return waiting.value["row"]

    def require_none(self) -> None:
        """All must have been taken."""
        if self._next is not None:
            raise DataError(f"{self._next.source}: this row is not in its place, or belongs to another ledger.")


class _Ledger:
    """Reads a ledger; `end` is its last line, once it has been read to there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.end: dict[str, Any] = {}

    def blocks(self) -> Iterator[tuple[int, list[str], dict[int, list[Change]]]]:
        """First row, short hashes and changes of each block of rows."""
        lines = read_rows(self._path)
        head = next(lines).value
        if head.get("kind") != KIND or head.get("version") != VERSION:
            raise DataError(f"{self._path} is no ledger of this version: its first line is {json.dumps(head)[:80]}.")
        changes: dict[int, list[Change]] = {}
        for line in lines:
            entry = self.end = line.value
            if "rule" in entry:
                change = Change(entry["rule"], tuple(entry["path"]), entry["before"], entry["after"])
                changes.setdefault(entry["row"], []).append(change)
            elif "hashes" in entry:
                text = entry["hashes"]
                shorts = [text[i : i + _SHORT_DIGITS] for i in range(0, len(text), _SHORT_DIGITS)]
                yield entry["first_row"], shorts, changes
                changes = {}


def _reverted(row: Row, changes: list[Change]) -> dict[str, Any]:
    values: Any = row.value
    for change in reversed(changes):
        try:
            found = value_at(values, change.path)
        except LookupError:
            found = None
        if found != change.after:
            place = ".".join(map(str, change.path))
            raise DataError(
                f"{row.source}: {place} is not what was written (by {change.rule}): the file was changed since."
            )
        values = with_value(values, change.path, change.before)
    return values
