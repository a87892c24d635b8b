"""Files of any kind of rows, read twice without keeping them: once to recognise the layout, once to give the rows.

Training reads conversations and texts alone (`formats`); here preference pairs, labelled answers and classified texts
are rows like any other. Rows that do not fit come as what is wrong with them, in their place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from luthier.data.find_files import find_files
from luthier.data.formats import CLASSIFIED_PARTS, Survey, classified_columns, decide, other_kind
from luthier.data.messages import BadRowError
from luthier.data.open_file import kind_of_file
from luthier.data.preferences import LABELLED_PARTS, PREFERENCE_PARTS, to_labelled, to_pair
from luthier.data.report import DroppedRow, list_rows
from luthier.data.row import Row
from luthier.data.sources import is_generated, read_rows
from luthier.errors import DataError
from luthier.reporter import Reporter
from luthier.types import Conversation, Document, LabelledAnswer, PreferencePair

AnyItem = Conversation | Document | PreferencePair | LabelledAnswer

OTHER_FORMATS = ("preference", "kto", "classification")
"""Layouts of rows that are not to be imitated; a file that fits another one too is read by them where they are named."""
_REPORT_EVERY_ROWS = 500


@dataclass(frozen=True)
class RecognisedFile:
    """A file whose layout is known.

    Attributes:
        path: As it was found.
        format: The layout's name; preference, kto or classification for what is not to be imitated.
        why: The reason in words.
        num_rows: All rows.
        columns: In the order in which they occur.
        unused: Columns that the layout does not read.
        to_item: Converts a row; raises `BadRowError`.
        state: What tells whether the file was written to since.
    """

    path: str
    format: str
    why: str
    num_rows: int
    columns: tuple[str, ...]
    unused: tuple[str, ...]
    to_item: Callable[[Row], AnyItem]
    state: tuple[int, int] | None


class ReadRow(NamedTuple):
    """A row, and what it says; None where it does not fit the layout, for the reason given."""

    row: Row
    item: AnyItem | None
    reason: str = ""


def recognise_files(
    names: Sequence[str | Path], format: str, columns: Mapping[str, str], reporter: Reporter
) -> list[RecognisedFile]:
    """Find the layout of each file.

    Args:
        names: Files, folders, patterns.
        format: A layout's name, one of `OTHER_FORMATS`, or "auto".
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        DataError: A file cannot be read, or its columns fit no layout at all.
    """
    return [_recognise_file(file, format, columns, reporter) for file in find_files(names)]


def _recognise_file(file: str, format: str, columns: Mapping[str, str], reporter: Reporter) -> RecognisedFile:
    state = _state(file)
    seen = Survey(columns)
    for row in _with_progress(read_rows(file), file, f"look at {Path(file).name}", reporter):
        seen.add(row)
    insisted = format if format in OTHER_FORMATS else None
    other = insisted or (other_kind(seen) if format == "auto" and not columns else None)
    if other is None or (not insisted and other == "preference" and _has_own_answer(seen)):
        found = decide(seen, format)
        return RecognisedFile(
            file, found.name, found.why, seen.num_rows, tuple(seen.columns), found.unused, found.to_item, state
        )
    convert, count, what, parts = {
        "preference": (to_pair, seen.num_preferences, "a better and a worse answer", PREFERENCE_PARTS),
        "kto": (to_labelled, seen.num_labelled, "an answer and a label, true or false", LABELLED_PARTS),
        "classification": (_classified, seen.num_classified, "a text and its class, and no answer", CLASSIFIED_PARTS),
    }[other]
    if not count:
        raise DataError(f"{file}: no row has {what}. Columns found: {', '.join(seen.columns) or 'none'}.")
    why = f"{other}: {count} of {seen.num_rows} rows have {what}"
    unused = tuple(name for name in seen.columns if name not in parts)
    return RecognisedFile(file, other, why, seen.num_rows, tuple(seen.columns), unused, convert, state)


def _has_own_answer(seen: Survey) -> bool:
    return any(seen.is_mostly(seen.coverage[name]) for name in ("alpaca", "prompt_completion"))


def _classified(row: Row) -> Document:
    columns = classified_columns(row.value)
    if columns is None:
        raise BadRowError("no text with a class")
    return Document(row.value[columns[0]], row.source)


def read_again(file: RecognisedFile, reporter: Reporter, what: str) -> Iterator[ReadRow]:
    """The rows of a file with what they say.

    Raises:
        DataError: The file cannot be read any more, or has changed since it was recognised.
    """
    _require_unchanged(file)
    rows = read_rows(file.path)
    for number, row in enumerate(rows):
        if number % _REPORT_EVERY_ROWS == 0:
            reporter.progress(f"{what} {Path(file.path).name}", number, max(file.num_rows, number + 1))
        try:
            yield ReadRow(row, file.to_item(row))
        except BadRowError as bad:
            yield ReadRow(row, None, str(bad))
    reporter.progress(f"{what} {Path(file.path).name}", file.num_rows, file.num_rows)
    _require_unchanged(file)


def _require_unchanged(file: RecognisedFile) -> None:
    if _state(file.path) != file.state:
        raise DataError(f"{file.path} changed while it was read; wait until whatever writes it is done")


class UnfitRows:
    """Counts rows that do not fit, and keeps the first ten."""

    def __init__(self) -> None:
        self.first: list[DroppedRow] = []
        self.count = 0

    def add(self, read: ReadRow) -> None:
        """A row whose item is None."""
        self.count += 1
        if len(self.first) < 10:
            self.first.append(DroppedRow(read.row.source, read.reason))

    def require_none(self, num_rows: int) -> None:
        """Refuse to go on where there is one: rows are not dropped in silence.

        Raises:
            DataError: With their places and reasons.
        """
        if self.count:
            more = f"\n  … and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
            raise DataError(
                f"{self.count} of {num_rows} rows do not fit their layout; nothing was written. Correct them or take "
                "them out "
                f"of the file:\n{list_rows(self.first)}{more}"
            )


def _with_progress(rows: Iterator[Row], file: str, what: str, reporter: Reporter) -> Iterator[Row]:
    """The rows; counted in lines, because how many rows there are is not known before the end."""
    total = _num_lines(file)
    for number, row in enumerate(rows):
        if total and number % _REPORT_EVERY_ROWS == 0:
            reporter.progress(what, min(row.source.line, total), total)
        yield row
    if total:
        reporter.progress(what, total, total)


def _num_lines(file: str) -> int:
    """Lines of a plain text file; 0 where that says nothing."""
    path = Path(file)
    if is_generated(file) or kind_of_file(path) != path.suffix.lower() or path.suffix.lower() not in _COUNTED_IN_LINES:
        return 0
    try:
        with path.open("rb") as opened:
            return sum(block.count(b"\n") for block in iter(lambda: opened.read(1 << 20), b"")) + 1
    except OSError:  # `read_rows` says better what is wrong
        return 0


_COUNTED_IN_LINES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")


def _state(file: str) -> tuple[int, int] | None:
    """Size and time of the last change; None where there is no file."""
    if is_generated(file) or not Path(file).is_file():
        return None
    status: Any = os.stat(file)
    return status.st_size, status.st_mtime_ns
