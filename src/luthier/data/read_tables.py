"""Rows out of tables: csv, tsv, parquet, and Arrow files (feather, and the stream that `datasets` keeps in its cache)."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.data.open_file import MOST_ROW_BYTES, kind_of_file, read_lines
from luthier.data.row import Row
from luthier.errors import DataError
from luthier.types import Source

_DELIMITERS = (",", ";", "\t", "|")
_ARROW_FILE_MAGIC = b"ARROW1"
_BATCH_ROWS = 1000


def read_csv(path: Path) -> Iterator[Row]:
    """A table with a header; the separator is found in it, and is a tab in .tsv files."""
    kind = kind_of_file(path)
    delimiter = "\t" if kind == ".tsv" else _delimiter(path)
    # The csv module refuses fields above 128 KiB unless told otherwise; long texts are what this is for.
    csv.field_size_limit(MOST_ROW_BYTES)
    reader = csv.reader((text for _, text in read_lines(path)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}:{line}: broken {kind[1:]} ({error}) in the row that begins there") from error
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _header(cells, path, line)
        elif len(cells) != len(header):
            raise DataError(
                f"{path}:{line}: {len(cells)} cells, the header has {len(header)} ({', '.join(header)}); "
                f"a text that holds {delimiter!r} or a line break must stand in double quotes"
            )
        else:
            yield Row(dict(zip(header, cells, strict=True)), Source(str(path), line))


def _delimiter(path: Path) -> str:
    """The separator that occurs most often in the header line; a comma where none does."""
    header = next((text for _, text in read_lines(path) if text.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _header(cells: list[str], path: Path, line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}:{line}: column names occur twice in the header: {', '.join(map(repr, twice))}")
    return names


def read_parquet(path: Path) -> Iterator[Row]:
    """A parquet file, a thousand rows at a time; lines are row numbers."""
    import pyarrow.parquet as pq

    def batches() -> Iterator[Any]:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS)

    return _rows_of_batches(batches(), path, "parquet")


def read_arrow(path: Path) -> Iterator[Row]:
    """An Arrow file or stream, one of its batches in memory at a time; lines are row numbers.

    It is not mapped: a file that is cut off while it is mapped ends the process.
    """
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        with path.open("rb") as file:
            is_file = file.read(len(_ARROW_FILE_MAGIC)) == _ARROW_FILE_MAGIC
        with pa.OSFile(str(path)) as opened:
            if is_file:
                reader = pa.ipc.open_file(opened)
                for index in range(reader.num_record_batches):
                    yield from _sliced(reader.get_batch(index))
            else:
                for batch in pa.ipc.open_stream(opened):
                    yield from _sliced(batch)

    return _rows_of_batches(batches(), path, "Arrow")


def _sliced(batch: Any) -> Iterator[Any]:
    for start in range(0, batch.num_rows, _BATCH_ROWS):
        yield batch.slice(start, _BATCH_ROWS)


def _rows_of_batches(batches: Iterator[Any], path: Path, kind: str) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches:
            for value in batch.to_pylist():
                number += 1
                yield Row(value, Source(str(path), number))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        where = f"after row {number}" if number else "at its start"
        raise DataError(f"{path} is not a readable {kind} file ({where}): {error}") from error
