"""`luthier data redact`: rows with something else in place of personal data and secrets, in their own layout.

Replaced is what the layout reads: all texts of all turns, reasoning, and texts in the arguments of tool calls. What stands in
other columns and keys is counted and replaced on demand. Numbers that are no text in JSON stay. Equal values get equal
replacements in all files of one call.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.any_rows import UnfitRows, read_again, recognise_files
from luthier.data.ledger import Change, LedgerWriter, ledger_path
from luthier.data.personal.replacement import Style
from luthier.data.redact import Redactor
from luthier.data.row import Row
from luthier.data.text_places import TextPlace, other_texts, text_places, value_at, with_value
from luthier.data.write_rows import RowFile, require_new, row_files
from luthier.errors import InputError
from luthier.reporter import Reporter, Silent

_SILENT = Silent()


@dataclass(frozen=True)
class RedactResult:
    """What was written.

    Attributes:
        path: The rows.
        ledger: What was replaced, with the values; None unless it was asked for.
        num_rows: Rows read and written.
        num_changed: Rows in which something was replaced.
        counts: Places replaced, by kind.
        num_tags_for_fakes: Places with a tag because no fake was left or safe.
        elsewhere: ``{column: {kind: places}}`` found in what the layout does not read, and left there.
    """

    path: Path
    ledger: Path | None
    num_rows: int
    num_changed: int
    counts: dict[str, int]
    num_tags_for_fakes: int
    elsewhere: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.__dict__, "path": str(self.path), "ledger": str(self.ledger) if self.ledger else None}


def data_redact(
    names: Sequence[str | Path],
    path: Path,
    *,
    kinds: Sequence[str] | None = None,
    style: Style = "tag",
    key: bytes | None = None,
    all_columns: bool = False,
    write_ledger: bool = False,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> RedactResult:
    """Write the rows without personal data and secrets.

    Args:
        names: Files, folders, patterns to read.
        path: The file to write: .jsonl, .json, or these with .gz.
        kinds: What to replace, of `luthier.data.redact.KINDS`; None for all.
        style: What to put in its place: tag, mask, fake or hash.
        key: Makes hashes equal in several files; None for hashes that nobody can make again.
        all_columns: Also replace in columns and keys that the layout does not read.
        write_ledger: Write what was replaced beside, so that it can be undone. It holds the values.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: No such kind or style, or a file cannot be made.
        DataError: Rows cannot be read or do not fit.
    """
    redactor = Redactor(kinds, style, key)
    ledger = ledger_path(path) if write_ledger else None
    for new in filter(None, (path, ledger)):
        require_new(new)
    reporter.stage("Recognise")
    files = recognise_files(names, format, columns or {}, reporter)
    reporter.stage(f"Write {path}")
    unfit, num_changed = UnfitRows(), 0
    elsewhere = None if all_columns else _Elsewhere(redactor.kinds)
    with row_files([path, *([ledger] if ledger else [])]) as (out, *more):
        book = LedgerWriter(more[0]) if more else None
        for file in files:
            for read in read_again(file, reporter, "redact"):
                if read.item is None:
                    unfit.add(read)
                places = text_places(read.row.value, file.unused, columns)
                others = other_texts(read.row.value, places)
                changes = _changes(read.row, [*places, *others] if all_columns else places, redactor)
                num_changed += bool(changes)
                _write(out, book, read.row, changes)
                if elsewhere is not None:
                    elsewhere.look(read.row, others)
        unfit.require_none(out.num_rows)
        if book:
            book.end()
        num_rows = out.num_rows
    counts = dict(redactor.counts.most_common())
    left = {} if elsewhere is None else elsewhere.counts
    return RedactResult(path, ledger, num_rows, num_changed, counts, redactor.num_tags_for_fakes, left)


def read_key(path: Path | None) -> bytes | None:
    """The key that a file holds, whatever its length.

    Raises:
        InputError: It cannot be read or is empty.
    """
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"The key file {path} cannot be read: {error.strerror}.") from error
    if not content.strip():
        raise InputError(f"The key file {path} is empty; put a long random line into it.")
    return hashlib.sha256(content.strip()).digest()


def _changes(row: Row, places: Sequence[TextPlace], redactor: Redactor) -> list[Change]:
    changes: list[Change] = []
    for place in places:
        before = value_at(row.value, place.path)
        after = redactor.redact_json(before) if place.form == "json" else redactor.redact(before)
        if after != before:
            changes.append(Change("redact", place.path, before, after))
    return changes


def _write(out: RowFile, book: LedgerWriter | None, row: Row, changes: Sequence[Change]) -> None:
    values: Any = row.value
    for change in changes:
        values = with_value(values, change.path, change.after)
    out.write(values, row.source)
    if book is not None:
        book.row(row, changes)


class _Elsewhere:
    """Counts what stands in columns that are not read."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self._finder = Redactor(kinds)
        self.counts: dict[str, dict[str, int]] = {}

    def look(self, row: Row, places: Sequence[TextPlace]) -> None:
        """The next row."""
        for place in places:
            found = Counter(p.span.kind for p in self._finder.places(value_at(row.value, place.path)))
            if found:
                name = ".".join(step for step in place.path if isinstance(step, str))
                of_column = self.counts.setdefault(name, {})
                for kind, count in found.items():
                    of_column[kind] = of_column.get(kind, 0) + count
