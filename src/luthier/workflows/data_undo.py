"""`luthier data undo`: cleaned (or redacted) rows, their ledger and the dropped rows → the rows that were read, in their order.

Every row is held against the hash that the ledger has of it, and all against that of the whole: what is written is what was read.
The layout of the file may be another (a table comes back as .jsonl); the rows are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.ledger import ledger_path, ledger_rows, restore
from luthier.data.write_rows import require_new, row_files
from luthier.errors import InputError
from luthier.reporter import Reporter, Silent
from luthier.workflows.data_dedup import dropped_path

_SILENT = Silent()
_REPORT_EVERY_ROWS = 500


@dataclass(frozen=True)
class UndoResult:
    """What was written.

    Attributes:
        path: The rows as they were read.
        num_rows: All of them.
        num_reverted: Rows in which a change was taken back.
        num_put_back: Rows that had been dropped.
    """

    path: Path
    num_rows: int
    num_reverted: int
    num_put_back: int

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.__dict__, "path": str(self.path)}


def data_undo(cleaned: Path, path: Path, *, reporter: Reporter = _SILENT) -> UndoResult:
    """Restore the rows that were cleaned or redacted.

    Args:
        cleaned: The file that was written; its ledger and dropped rows are looked for beside it.
        path: The file to write: .jsonl, .json, or these with .gz.
        reporter: Told how far it is.

    Raises:
        InputError: There is no ledger, or the file cannot be made.
        DataError: The files do not belong together, or one was changed since: with the row. Nothing is written.
    """
    ledger, dropped = ledger_path(cleaned), dropped_path(cleaned)
    if not ledger.is_file():
        raise InputError(
            f"There is no ledger {ledger}. It is written beside its rows by luthier data clean, and by redact --ledger; "
            "the three files must keep their names and stay together."
        )
    require_new(path)
    reporter.stage(f"Write {path}")
    num_reverted = num_put_back = 0
    total = ledger_rows(ledger)
    with row_files([path]) as (out,):
        for row in restore(cleaned, ledger, dropped if dropped.is_file() else None):
            out.write(row.values)
            num_reverted += row.is_changed
            num_put_back += row.is_dropped
            if out.num_rows % _REPORT_EVERY_ROWS == 0:
                reporter.progress("restore", out.num_rows, max(total, out.num_rows + 1))
        num_rows = out.num_rows
    return UndoResult(path, num_rows, num_reverted, num_put_back)
