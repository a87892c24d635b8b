"""Files and generated data → rows. Every row knows its file and line, and so does every complaint.

Read here: jsonl, json (a list of objects, or ``{"data": [...]}``, however it is laid out), csv, tsv, parquet, and
txt/md (one document per file). What the columns *mean* is the business of `formats`.

Tolerated: a byte order mark, CRLF, blank lines, a ``.json`` file that really holds one object per line. Everything else
that is broken is an error with its place: nothing is skipped.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from luthier.errors import DataError
from luthier.types import Source

GENERATED_PREFIX = "demo:"
EXCERPT_LENGTH = 60
_JSON_SPACE = re.compile(r"[ \t\n\r]*")
_DELIMITERS = (",", ";", "\t", "|")

Generator = Callable[[], Iterable[Mapping[str, Any]]]

# Rows that are made by code, not read from a file. A string "module:function" is imported when the rows are asked for.
GENERATED: dict[str, str | Generator] = {
    "demo:shop-sql": "luthier.demo.shop:training_rows",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it stands in its file."""

    value: dict[str, Any]
    source: Source


def register_generated(name: str, function: str | Generator) -> None:
    """Make `name` (it starts with ``demo:``) readable like a file; `function` returns its rows, the same ones each time."""
    assert name.startswith(GENERATED_PREFIX), name
    GENERATED[name] = function


def is_generated(path: Path | str) -> bool:
    """Whether `path` names generated rows, not a file."""
    return str(path).startswith(GENERATED_PREFIX)


def read_rows(path: Path | str) -> Iterator[Row]:
    """The rows of one file (or of a ``demo:`` name), in order.

    Raises:
        DataError: The file is missing, empty, a folder, of an unknown kind, or broken; with file and line.
    """
    if is_generated(path):
        return _read_generated(str(path))
    path = Path(path)
    _require_file(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise DataError(
            f"{path}: files of the kind '{path.suffix or 'without a suffix'}' cannot be read; known: {known}"
        )
    return _at_least_one(reader(path), path)


def hash_source(path: Path | str) -> str:
    """SHA-256 (hex) of a file's bytes, or of generated rows written as JSON."""
    if is_generated(path):
        digest = hashlib.sha256()
        for row in _read_generated(str(path)):
            digest.update(json.dumps(row.value, sort_keys=True, ensure_ascii=False).encode() + b"\n")
        return digest.hexdigest()
    path = Path(path)
    _require_file(path)
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in READERS)
        what = (
            f"data files in it: {', '.join(inside[:10])}"
            if inside
            else f"it holds no file of a kind known ({', '.join(READERS)})"
        )
        raise DataError(f"{path} is a folder; name the files one by one. {what[0].upper()}{what[1:]}")
    if not path.exists():
        parent = path.parent
        names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
        similar = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
        if not parent.is_dir():
            hint = f"the folder {parent} does not exist either"
        elif similar:
            hint = f"similar files there: {', '.join(similar)}"
        else:
            data_files = sorted(n for n in names if Path(n).suffix.lower() in READERS)
            hint = f"data files there: {', '.join(data_files[:10]) or 'none'}"
        raise DataError(f"{path}: no such file; {hint}")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error


def _at_least_one(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise DataError(f"{path} holds no rows")


def _excerpt(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= EXCERPT_LENGTH else text[:EXCERPT_LENGTH] + "…")


# --- text ---------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, decoded strictly, without byte order mark; line ends are kept."""
    with _opened(path) as file:
        for number, raw in enumerate(file, start=1):
            yield number, _decode(raw, path, number)


def _decode(raw: bytes, path: Path, number: int) -> str:
    if number == 1:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise DataError(f"{path} is UTF-16; save it as UTF-8 (iconv -f utf-16 -t utf-8)")
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        raise DataError(
            f"{path}:{number}: NUL byte at byte {raw.index(0) + 1} of the line; the file is binary or damaged"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = raw[error.start : error.start + 4].hex(" ")
        raise DataError(
            f"{path}:{number}: not UTF-8 at byte {error.start + 1} of the line (bytes {shown}); "
            "save the file as UTF-8, e.g. iconv -f latin1 -t utf-8"
        ) from error


def _whole_text(path: Path) -> str:
    return "".join(text for _, text in _lines(path))


def _read_document(path: Path) -> Iterator[Row]:
    text = _whole_text(path)
    if text.strip():
        yield Row({"text": text}, Source(str(path), 1))


# --- JSON ---------------------------------------------------------------------------------------------------------


def _read_json_lines(path: Path) -> Iterator[Row]:
    for number, text in _lines(path):
        if text.strip():
            yield _json_line(text, path, number)


def _json_line(text: str, path: Path, number: int) -> Row:
    place = Source(str(path), number)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        hint = ""
        if number == 1 and text.strip() in ("[", "{", "[{"):
            hint = ". The file looks like one JSON document over many lines: name it .json"
        raise DataError(
            f"{place}: broken JSON at column {error.colno} ({error.msg}) in {_excerpt(text)}{hint}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: broken JSON ({error}) in {_excerpt(text)}") from error
    return _object_row(value, place, text)


def _object_row(value: Any, place: Source, text: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{place}: a row must be a JSON object {{...}}, found {_kind(value)}: {_excerpt(text)}")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place}: half of a surrogate pair (\\ud8xx without its partner) in {_excerpt(text)}"
            ) from error
    return Row(value, place)


def _kind(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number", dict: "an object"}
    return "null" if value is None else names[type(value)]


def _read_json(path: Path) -> Iterator[Row]:
    """A document is scanned value by value, so that each row keeps its line; objects line by line are read as lines."""
    text = _whole_text(path)
    start = _skip_space(text, 0)
    if text[start : start + 1] == "[":
        end = yield from _scan_list(text, start, path)
        _require_end(text, end, path)
        return
    value, end = _scan_value(text, start, path)
    if isinstance(value, dict) and text[_skip_space(text, end) : _skip_space(text, end) + 1] == "{":
        yield from _read_json_lines(path)
        return
    _require_end(text, end, path)
    place = Source(str(path), 1)
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected a list of objects, found {_kind(value)}: {_excerpt(text)}")
    if not isinstance(value.get("data"), list):
        lists = [key for key, inner in value.items() if isinstance(inner, list)]
        hint = f" Lists are under: {', '.join(lists[:5])}; save one of them as the file." if lists else ""
        raise DataError(
            f"{place}: one JSON object with the keys {', '.join(list(value)[:5])}; expected a list of objects or "
            f'{{"data": [...]}}; a file with one object per line is named .jsonl.{hint}'
        )
    yield from _scan_list(text, _position_of_data(text, start, path), path)


def _skip_space(text: str, position: int) -> int:
    match = _JSON_SPACE.match(text, position)
    assert match is not None
    return match.end()


def _scan_value(text: str, position: int, path: Path) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, position)
    except json.JSONDecodeError as error:
        line_start = text.rfind("\n", 0, error.pos) + 1
        raise DataError(
            f"{path}:{error.lineno}: broken JSON at column {error.colno} ({error.msg}) in {_excerpt(text[line_start:][:200])}"
        ) from error
    except (ValueError, RecursionError) as error:
        line = text.count("\n", 0, position) + 1
        raise DataError(f"{path}:{line}: broken JSON ({error}) in the value that begins there") from error


def _scan_list(text: str, position: int, path: Path) -> Iterator[Row]:
    """Rows of the JSON list that begins at `position`; returns where it ends."""
    line, counted = 1, 0
    position = _skip_space(text, position + 1)
    while text[position : position + 1] != "]":
        line += text.count("\n", counted, position)
        counted = position
        value, end = _scan_value(text, position, path)
        yield _object_row(value, Source(str(path), line), text[position:end])
        position = _skip_space(text, end)
        if text[position : position + 1] == ",":
            position = _skip_space(text, position + 1)
            if text[position : position + 1] == "]":
                _broken(text, position, path, "a comma before the closing bracket")
        elif text[position : position + 1] != "]":
            _broken(text, position, path, "expected ',' or ']' after this row; the file may be cut off")
    return position + 1


def _position_of_data(text: str, position: int, path: Path) -> int:
    """Where the value of the key "data" begins in the (already parsed, so well-formed) object at `position`."""
    position += 1
    while True:
        key, end = _scan_value(text, _skip_space(text, position), path)
        start = _skip_space(text, _skip_space(text, end) + 1)
        if key == "data":
            return start
        _, end = _scan_value(text, start, path)
        position = _skip_space(text, end) + 1


def _require_end(text: str, position: int, path: Path) -> None:
    position = _skip_space(text, position)
    if position < len(text):
        _broken(text, position, path, "more text after the end of the document")


def _broken(text: str, position: int, path: Path, what: str) -> None:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    shown = text[position : position + 200] or text[max(0, position - EXCERPT_LENGTH) : position]
    raise DataError(f"{path}:{line}: broken JSON at column {column} ({what}) in {_excerpt(shown)}")


# --- tables -------------------------------------------------------------------------------------------------------


def _read_csv(path: Path) -> Iterator[Row]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(path)
    # The csv module refuses fields above 128 KiB unless told otherwise; long texts are what this is for.
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader((text for _, text in _lines(path)), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(
                f"{path}:{line}: broken {path.suffix[1:]} ({error}) in the row that begins there"
            ) from error
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
    header = next((text for _, text in _lines(path) if text.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _header(cells: list[str], path: Path, line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}:{line}: column names occur twice in the header: {', '.join(map(repr, twice))}")
    return names


def _read_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for value in batch.to_pylist():
                    number += 1
                    yield Row(value, Source(str(path), number))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        where = f"after row {number}" if number else "at its start"
        raise DataError(f"{path} is not a readable parquet file ({where}): {error}") from error


# --- generated ----------------------------------------------------------------------------------------------------


def _read_generated(name: str) -> Iterator[Row]:
    function = GENERATED.get(name)
    if function is None:
        raise DataError(f"{name}: no such generated data; known: {', '.join(sorted(GENERATED))}")
    if isinstance(function, str):
        module, _, attribute = function.partition(":")
        function = getattr(importlib.import_module(module), attribute)
    for number, value in enumerate(function(), start=1):
        yield Row(dict(value), Source(name, number))


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_document,
    ".md": _read_document,
}
