"""`luthier data apply`: the decisions of a review done to the rows that were reviewed. It can be undone like a cleaning.

Rows that were not looked at, kept or not decided stay as they are. Dropped ones go aside with the note as reason, changes of
texts stand in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.any_rows import read_again, recognise_files
from luthier.data.ledger import Change, LedgerWriter, dropped_entry, ledger_path
from luthier.data.messages import BadRowError
from luthier.data.review.decisions import DecisionFile, RowDecision
from luthier.data.row import Row
from luthier.data.text_places import value_at, with_value
from luthier.data.write_rows import require_new, row_files
from luthier.errors import DataError
from luthier.reporter import Reporter, Silent
from luthier.workflows.data_dedup import dropped_path
from luthier.workflows.data_review import require_reviewed

RULE = "review"
_SILENT = Silent()


@dataclass(frozen=True)
class ApplyResult:
    """What was written.

    Attributes:
        path: The rows.
        ledger: What was changed, to undo it.
        dropped: Rows that went: ``{"number", "source", "rule", "reason", "row"}``.
        num_read: Rows read.
        num_dropped: Rows that went.
        num_fixed: Rows with a change.
        num_undecided: Rows of the review without a decision; they stay.
        notes: Notes about rows that stay, by place.
    """

    path: Path
    ledger: Path
    dropped: Path
    num_read: int
    num_dropped: int
    num_fixed: int
    num_undecided: int
    notes: dict[str, str]

    @property
    def num_kept(self) -> int:
        """Rows written."""
        return self.num_read - self.num_dropped

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        paths = {name: str(getattr(self, name)) for name in ("path", "ledger", "dropped")}
        return {**self.__dict__, **paths, "num_kept": self.num_kept}


def data_apply(
    names: Sequence[str | Path], decisions: Path, path: Path, *, reporter: Reporter = _SILENT
) -> ApplyResult:
    """Write the rows as they were decided on.

    Args:
        names: What was reviewed; it is never changed.
        decisions: What luthier data review wrote.
        path: The file to write: .jsonl, .json, or these with .gz.
        reporter: Told how far it is.

    Raises:
        InputError: There are no decisions, or a file cannot be made.
        DataError: The rows are not those that were reviewed. Nothing is written.
    """
    ledger, dropped = ledger_path(path), dropped_path(path)
    for new in (path, ledger, dropped):
        require_new(new)
    book = DecisionFile.open(decisions)
    sampled = {row.number: row for row in book.head.rows}
    reporter.stage("Recognise")
    files = recognise_files(names, book.head.format, book.head.columns, reporter)
    reporter.stage(f"Write {path}")
    notes: dict[str, str] = {}
    num_fixed = 0
    with row_files([path, ledger, dropped]) as (kept, lines, gone):
        account = LedgerWriter(lines)
        for file in files:
            for read in read_again(file, reporter, "apply"):
                row, number = read.row, account.num_rows + 1
                if number in sampled:
                    require_reviewed(row, sampled[number], decisions)
                decision = book.decisions.get(number, RowDecision(number, "undecided"))
                if decision.verdict == "drop":
                    account.row(row, dropped_by=RULE)
                    gone.write(dropped_entry(number, row, RULE, decision.note or "dropped in review"), row.source)
                    continue
                values, changes = _fixed(row, decision, decisions)
                _require_fit(file, values, row, bool(changes))
                account.row(row, changes)
                kept.write(values, row.source)
                num_fixed += bool(changes)
                if decision.note:
                    notes[str(row.source)] = decision.note
        if account.num_rows != book.head.num_rows:
            raise DataError(
                f"{decisions} is a review of {book.head.num_rows:,} rows, and there are {account.num_rows:,}: the data were "
                "changed since, or are others. Give the file that was reviewed; nothing was written."
            )
        account.end()
    verdicts = [d.verdict for d in book.decisions.values()]
    num_undecided = len(sampled) - sum(verdict != "undecided" for verdict in verdicts)
    num_read = account.num_rows
    return ApplyResult(path, ledger, dropped, num_read, verdicts.count("drop"), num_fixed, num_undecided, notes)


def _fixed(row: Row, decision: RowDecision, decisions: Path) -> tuple[Any, list[Change]]:
    values: Any = row.value
    changes: list[Change] = []
    for edit in decision.edits if decision.verdict == "fix" else ():
        try:
            stands_there = value_at(values, edit.path)
        except LookupError:
            stands_there = None
        if stands_there != edit.before:
            raise DataError(f"{decisions}: the change of row {decision.row} does not begin with what stands there.")
        values = with_value(values, edit.path, edit.after)
        changes.append(Change(RULE, edit.path, edit.before, edit.after))
    return values, changes


def _require_fit(file: Any, values: Any, row: Row, is_changed: bool) -> None:
    """A decision may have been written by hand; what it makes of a row must be a row."""
    if not is_changed:
        return
    try:
        file.to_item(Row(values, row.source))
    except BadRowError as bad:
        raise DataError(f"{row.source}: with its change the row would not fit its layout: {bad}.") from bad
