"""`luthier data clean`: rows repaired by rule. What was done is written down, what was dropped is kept, so that it can be undone.

Three files are written together: the rows in their own layout, a ledger with every change (`data.ledger`), and the dropped rows.
What a repair could not repair stays as it is, and is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.any_rows import ReadRow, RecognisedFile, UnfitRows, read_again, recognise_files
from luthier.data.clean import row_does_not_fit
from luthier.data.clean.catalogue import choose_repairs
from luthier.data.clean.cleaner import Cleaned, Cleaner
from luthier.data.clean.repair import Drop, Given, Judge, Repair
from luthier.data.ledger import LedgerWriter, dropped_entry, ledger_path
from luthier.data.lint.rule import LISTED_ROWS
from luthier.data.row import Row
from luthier.data.write_rows import RowFile, require_new, row_files
from luthier.errors import InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Source
from luthier.workflows.data_dedup import dropped_path

_SILENT = Silent()


@dataclass(frozen=True)
class Left:
    """Rows that a repair could not repair: how many, and the first of them."""

    repair: str
    num_rows: int
    rows: tuple[Source, ...]


@dataclass(frozen=True)
class CleanResult:
    """What was written.

    Attributes:
        path: The rows, repaired, in their own layout.
        ledger: What was changed, to undo it.
        dropped: Rows that went: ``{"number", "source", "rule", "reason", "row"}``.
        repairs: Names of the repairs that were tried.
        num_read: Rows read.
        num_changed: Rows kept with a change.
        changes: Rows changed (and kept), by repair.
        drops: Rows dropped, by repair.
        left: Rows that could not be repaired.
    """

    path: Path
    ledger: Path
    dropped: Path
    repairs: tuple[str, ...]
    num_read: int
    num_changed: int
    changes: dict[str, int]
    drops: dict[str, int]
    left: tuple[Left, ...]

    @property
    def num_kept(self) -> int:
        """Rows written."""
        return self.num_read - sum(self.drops.values())

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        paths = {name: str(getattr(self, name)) for name in ("path", "ledger", "dropped")}
        left = [{"repair": one.repair, "num_rows": one.num_rows, "rows": list(map(str, one.rows))} for one in self.left]
        return {**self.__dict__, **paths, "left": left, "repairs": list(self.repairs), "num_kept": self.num_kept}


def data_clean(
    names: Sequence[str | Path],
    path: Path,
    *,
    repairs: Sequence[str] | None = None,
    tokenizer: str | None = None,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> CleanResult:
    """Write the rows repaired.

    Args:
        names: Files, folders, patterns to read; they are never changed.
        path: The file to write: .jsonl, .json, or these with .gz.
        repairs: Names from `luthier.data.clean.catalogue.REPAIRS`, or "safe"; None for the safe ones.
        tokenizer: Model whose control tokens count as template markers too.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: There is no such repair, an option is without effect, or a file cannot be made.
        DataError: Rows cannot be read or do not fit.
    """
    chosen = choose_repairs(repairs)
    if tokenizer is not None and not any(repair.name == "template_markers" for repair in chosen):
        raise InputError(
            "A tokenizer says which control tokens template_markers looks for; add --rule template_markers."
        )
    ledger, dropped = ledger_path(path), dropped_path(path)
    for new in (path, ledger, dropped):
        require_new(new)
    given = Given(_special_tokens(tokenizer, reporter) if tokenizer else ())
    reporter.stage("Recognise")
    files = recognise_files(names, format, columns or {}, reporter)
    judges = _looked(files, chosen, given, columns or {}, reporter)
    reporter.stage(f"Write {path}")
    cleaner = Cleaner(chosen, given, columns or {}, judges)
    with row_files([path, ledger, dropped]) as (kept, book, gone):
        account = _Account(kept, gone, LedgerWriter(book))
        unfit = UnfitRows()
        for read, cleaned in _cleaned(files, cleaner, reporter, "clean"):
            if cleaned is not None:
                account.take(read.row, cleaned)
            elif row_does_not_fit.REPAIR in chosen:
                account.drop(read.row, row_does_not_fit.REPAIR.name, read.reason)
            else:
                unfit.add(read)
        unfit.require_none(account.num_read + unfit.count)
        account.ledger.end()
    tried = tuple(repair.name for repair in chosen)
    changes, drops = dict(account.changes.most_common()), dict(account.drops.most_common())
    left = tuple(account.left.values())
    return CleanResult(path, ledger, dropped, tried, account.num_read, account.num_changed, changes, drops, left)


def _cleaned(
    files: Sequence[RecognisedFile], cleaner: Cleaner, reporter: Reporter, what: str
) -> Iterator[tuple[ReadRow, Cleaned | None]]:
    """Every row and what became of it; None for those that do not fit their layout."""
    number = 0
    for file in files:
        for read in read_again(file, reporter, what):
            yield read, None if read.item is None else cleaner.clean(file, read.row, read.item, number)
            number += 1


def _looked(
    files: Sequence[RecognisedFile],
    chosen: Sequence[Repair],
    given: Given,
    columns: Mapping[str, str],
    reporter: Reporter,
) -> dict[str, Judge]:
    """Judges that must see all rows first, after they have seen those that the other repairs keep, repaired."""
    judges = {r.name: r.start() for r in chosen if isinstance(r, Drop) and r.looks_first}
    if judges:
        reporter.stage("Look at all rows")
        cleaner = Cleaner(chosen, given, columns)
        for _, cleaned in _cleaned(files, cleaner, reporter, "look at"):
            if cleaned is not None and not cleaned.dropped_by:
                for judge in judges.values():
                    judge.look(cleaned.row)
    return judges


def _special_tokens(model: str, reporter: Reporter) -> tuple[str, ...]:
    from luthier.models.load import find_model, load_tokenizer

    reporter.stage(f"Load the tokenizer of {model}")
    tokens = load_tokenizer(find_model(model)).all_special_tokens
    return tuple(str(token) for token in tokens if str(token).strip())


class _Account:
    """Writes rows where they belong, and counts."""

    def __init__(self, kept: RowFile, gone: RowFile, ledger: LedgerWriter) -> None:
        self._kept, self._gone = kept, gone
        self.ledger = ledger
        self.num_changed = 0
        self.changes: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.left: dict[str, Left] = {}

    @property
    def num_read(self) -> int:
        """Rows so far."""
        return self.ledger.num_rows

    def take(self, row: Row, cleaned: Cleaned) -> None:
        """A row that fits its layout."""
        if cleaned.dropped_by:
            self.drop(row, cleaned.dropped_by, cleaned.reason)
            return
        self.ledger.row(row, cleaned.changes)
        self._kept.write(cleaned.row.values, row.source)
        self.num_changed += bool(cleaned.changes)
        self.changes.update({change.rule for change in cleaned.changes})
        for name in cleaned.left:
            before = self.left.get(name, Left(name, 0, ()))
            rows = before.rows if len(before.rows) == LISTED_ROWS else (*before.rows, row.source)
            self.left[name] = Left(name, before.num_rows + 1, rows)

    def drop(self, row: Row, rule: str, reason: str) -> None:
        """A row that goes, as it was read."""
        self.ledger.row(row, dropped_by=rule)
        self._gone.write(dropped_entry(self.num_read, row, rule, reason), row.source)
        self.drops[rule] += 1
