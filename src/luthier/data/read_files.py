"""Data files → converted rows, with what each file was recognised as. All rows that do not fit are named together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from luthier.data.formats import convert_with
from luthier.data.report import DroppedRow, FileReport, list_rows
from luthier.data.row_kinds import AnyRow, RowKind, recognise_as
from luthier.data.sources import hash_source, read_rows
from luthier.errors import DataError
from luthier.types import Finding

DataFile = str | Path


class ReadFiles(NamedTuple):
    """Converted rows of several files, in order."""

    items: list[AnyRow]
    reports: tuple[FileReport, ...]
    findings: tuple[Finding, ...]


def read_files(
    files: Sequence[DataFile],
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    expected: Mapping[str, str] | None = None,
    *,
    rows: RowKind = "conversations",
) -> ReadFiles:
    """Read and convert files; the layout is recognised for each file on its own.

    Raises:
        DataError: A file cannot be read, its columns fit no layout, or none of the kind of rows that is needed, rows do not fit
            (all counted, ten listed), or the file changed while it was read, or since `expected` was computed.
    """
    items: list[AnyRow] = []
    reports: list[FileReport] = []
    findings: list[Finding] = []
    bad: list[DroppedRow] = []
    for file in files:
        left = None if limit is None else limit - len(items) - len(bad)
        if left == 0:
            break
        before = hash_source(file)
        read = list(islice(read_rows(file), left))
        if hash_source(file) != before:
            raise DataError(f"{file} changed while it was read; wait until whatever writes it is done")
        if expected is not None and expected.get(str(file), before) != before:
            raise DataError(f"{file} has changed since its rows were tokenised; start again")
        row_format = recognise_as(rows, read, format, columns)
        converted = convert_with(read, row_format.to_item)
        items += converted.items
        bad += [DroppedRow(problem.rows[0], problem.message) for problem in converted.problems]
        reports.append(FileReport(str(file), before, len(read), row_format.name, row_format.why))
        if row_format.unused:
            findings.append(
                Finding(
                    "columns_not_used",
                    "note",
                    (read[0].source,),
                    f"{file} was read as {row_format.name}; not used: {', '.join(row_format.unused)}.",
                    "Check that nothing you want to be learnt stands there; map columns with data.columns.",
                )
            )
    if bad:
        total = len(items) + len(bad)
        raise DataError(f"{len(bad)} of {total} rows do not fit their layout:\n{list_rows(bad)}")
    return ReadFiles(items, tuple(reports), tuple(findings))
