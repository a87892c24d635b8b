"""What was done to rows, written down so that it can be undone: rows + ledger + dropped rows → the rows that were read.

The ledger is a .jsonl file: a first line that says what it is; one line for each change (row, source, rule, path, before, after)
and one for each dropped row (row, source, dropped_by), in order; after every 1,000 rows a line with a short hash of each as it
was read; a last line with their number and the hash of all. Rows count from 1. Dropped rows stand whole in a file of their own.

The ledger holds what was there before: where a secret was taken out, it is as secret as the data were.
"""

from __future__ import annotations

import hashlib
import json
import re
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

    def row(self, row: Row, changes: Iterable[Change] = (), dropped_by: str = "") -> None:
        """The next row as it was read, and what was changed in it; a dropped one by what."""
        self.num_rows += 1
        digest = row_digest(row.value, row.source)
        self._whole.update(digest)
        self._short.append(digest.hex()[:_SHORT_DIGITS])
        place = {"row": self.num_rows, "source": str(row.source)}
        for change in changes:
            self._file.write({**place, **change._asdict(), "path": list(change.path)}, row.source)
        if dropped_by:
            self._file.write({**place, "dropped_by": dropped_by}, row.source)
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
    kept, gone, book = _rows(path), _Gone(dropped), _Ledger(ledger)
    whole, num_kept, number = hashlib.blake2b(digest_size=32), 0, 0
    for block in book.blocks():
        if block.first != number + 1:
            raise DataError(f"{ledger}: rows {number + 1} to {block.first - 1} are missing from it.")
        for short in block.shorts:
            number += 1
            changes, dropped_by = block.changes.get(number, []), block.dropped.get(number)
            if dropped_by is not None:
                values, place = gone.take(number, dropped_by)
            else:
                row = next(kept, None)
                if row is None:
                    raise DataError(f"{path} ends before row {number} of {ledger}: rows are missing from it.")
                num_kept += 1
                values, place = _reverted(row, changes), row.source
            digest = row_digest(values)
            if digest.hex()[:_SHORT_DIGITS] != short:
                raise DataError(f"{place} is not what was written: restored, it is not the row that was read.")
            whole.update(digest)
            yield Restored(values, bool(changes), dropped_by is not None)
    if num_kept and (more := next(kept, None)) is not None:
        raise DataError(f"{more.source}: more rows than {ledger} knows of. Take them out, or split the file.")
    gone.require_none()
    if book.end != {"num_rows": number, "hash": whole.hexdigest()}:
        raise DataError(f"{ledger} has no end that fits its {number} rows: it is cut off or was changed.")


def ledger_rows(ledger: Path) -> int:
    """How many rows a ledger says it knows of, for progress; 0 where its last line does not say."""
    with ledger.open("rb") as file:
        file.seek(max(0, ledger.stat().st_size - 4096))
        last = file.read().rstrip().rpartition(b"\n")[2]
    try:
        return int(json.loads(last)["num_rows"])
    except (ValueError, KeyError, TypeError):
        return 0


def _rows(path: Path) -> Iterator[Row]:
    """As `read_rows`; a file into which no row was written has 0 bytes, and is no error here."""
    return read_rows(path) if not path.is_file() or path.stat().st_size else iter(())


class _Gone:
    """Dropped rows, taken in the order of their numbers."""

    def __init__(self, path: Path | None) -> None:
        self._path = path or "There is no file of dropped rows"
        self._rows = iter(()) if path is None else _rows(path)
        self._next = next(self._rows, None)

    def take(self, number: int, dropped_by: str) -> tuple[dict[str, Any], Source]:
        """The row of this number with its place."""
        found = self._next
        if found is None or found.value.get("number") != number or not isinstance(found.value.get("row"), dict):
            where = self._path if found is None else found.source
            raise DataError(f"{where}: row {number}, which {dropped_by} dropped, is missing here.")
        self._next = next(self._rows, None)
        return found.value["row"], found.source

    def require_none(self) -> None:
        """All must have been taken."""
        if self._next is not None:
            raise DataError(f"{self._next.source}: this row is not in its place, or belongs to another ledger.")


class _Block(NamedTuple):
    """Some rows of a ledger: the first, short hashes of all, changes and reasons of those dropped by number."""

    first: int
    shorts: list[str]
    changes: dict[int, list[Change]]
    dropped: dict[int, str]


class _Ledger:
    """Reads a ledger; `end` is its last line, once it has been read to there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.end: dict[str, Any] = {}

    def blocks(self) -> Iterator[_Block]:
        """The rows in order."""
        lines = read_rows(self._path)
        head = next(lines).value
        if head.get("kind") != KIND or head.get("version") != VERSION:
            raise DataError(f"{self._path} is no ledger of this version: its first line is {json.dumps(head)[:80]}.")
        changes: dict[int, list[Change]] = {}
        dropped: dict[int, str] = {}
        for line in lines:
            entry = self.end = line.value
            try:
                if "rule" in entry:
                    change = Change(entry["rule"], tuple(entry["path"]), entry["before"], entry["after"])
                    changes.setdefault(entry["row"], []).append(change)
                elif "dropped_by" in entry:
                    dropped[entry["row"]] = entry["dropped_by"]
                elif "hashes" in entry:
                    shorts = re.findall(f".{{{_SHORT_DIGITS}}}", entry["hashes"])
                    yield _Block(entry["first_row"], shorts, changes, dropped)
                    changes, dropped = {}, {}
            except (KeyError, TypeError) as error:
                raise DataError(f"{line.source}: no line of a ledger ({error}); it was changed.") from error


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
