"""`luthier data generate --from table`: rows of a table put into a template. No model, the same result each time.

Rows of the table in which a column that the template names says nothing are set aside, and so are rows that equal an earlier one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from luthier.data.find_files import find_files
from luthier.data.generation.making import Aside
from luthier.data.generation.table import PROVENANCE, Template
from luthier.data.sources import read_rows
from luthier.data.write_rows import RowFile, require_new, row_files
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.workflows.data_dedup import dropped_path

_SILENT = Silent()
_REPORT_EVERY_ROWS = 500


@dataclass(frozen=True)
class TableResult:
    """What was written.

    Attributes:
        path: The rows, each with where it comes from under "generated".
        dropped: What did not become a row: ``{"source", "rule", "reason", "row"}``.
        num_read: Rows of the table.
        num_written: Rows.
        aside: What was set aside, by rule.
    """

    path: Path
    dropped: Path
    num_read: int
    num_written: int
    aside: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "kind": "table", "path": str(self.path), "dropped": str(self.dropped)}


def data_generate_table(
    names: Sequence[str | Path], path: Path, template: str, *, limit: int | None = None, reporter: Reporter = _SILENT
) -> TableResult:
    """Write the rows made from a table.

    Args:
        names: Files, folders, patterns with the table.
        path: The file to write: .jsonl, .json, or these with .gz.
        template: JSON, or the name of a file that holds it; see `data.generation.table`.
        limit: Use only the first rows of the table.
        reporter: Told how far it is.

    Raises:
        InputError: The template makes no sense, names a column that is not there, or a file cannot be made.
        DataError: The table cannot be read, or no row came of it.
    """
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}; it must be at least 1.")
    dropped = dropped_path(path)
    for new in (path, dropped):
        require_new(new)
    filling = _Filling(Template(template))
    files = find_files(names)
    reporter.stage(f"Write {path}")
    with row_files([path, dropped]) as (out, gone):
        for file in files:
            for row in islice(read_rows(file), None if limit is None else limit - filling.num_read):
                filling.fill(row.value, str(row.source), file, out, gone)
                if filling.num_read % _REPORT_EVERY_ROWS == 0:
                    reporter.progress("make", filling.num_read, filling.num_read + 1)
        if not out.num_rows:
            raise DataError(f"No row came of {filling.num_read} rows of the table: {filling.first_reason}.")
        num_written = out.num_rows
    return TableResult(path, dropped, filling.num_read, num_written, dict(filling.aside.most_common()))


class _Filling:
    """Makes rows, and counts."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._seen: dict[bytes, str] = {}
        self._files: set[str] = set()
        self.aside: Counter[str] = Counter()
        self.num_read = 0
        self.first_reason = ""

    def fill(self, values: dict[str, Any], source: str, file: str, out: RowFile, gone: RowFile) -> None:
        """One row of the table."""
        self.num_read += 1
        if file not in self._files:
            self._files.add(file)
            self._template.require_columns(values, file)
        empty = self._template.empty_columns(values)
        if empty:
            self._put_aside(Aside(source, "column_empty", f"{', '.join(empty)}: nothing there", values), gone)
            return
        for number, made in enumerate(self._template.fill(values), start=1):
            digest = hashlib.blake2b(json.dumps(made, sort_keys=True).encode(), digest_size=12).digest()
            earlier = self._seen.get(digest)
            if earlier is not None:
                self._put_aside(Aside(source, "says_it_again", f"equals what {earlier} gave", made), gone)
            else:
                self._seen[digest] = source
                out.write({**made, PROVENANCE: {"from": "table", "source": source, "template": number}})

    def _put_aside(self, aside: Aside, gone: RowFile) -> None:
        self.first_reason = self.first_reason or f"{aside.source}: {aside.reason}"
        self.aside[aside.rule] += 1
        gone.write(aside.to_json())
