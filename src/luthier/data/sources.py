"""Files and generated data → rows. Every row knows its file and line, and so does every complaint.

Read here: jsonl, json (a list of objects, or ``{"data": [...]}``, however it is laid out), csv, tsv, parquet, arrow and
feather, and txt/md (one document per file); all but parquet and Arrow also as .gz or .zst. Nothing but a document is ever
whole in memory. What the columns *mean* is the business of `formats`, what folders and patterns mean that of `find_files`.

Tolerated: a byte order mark, CRLF, blank lines, a ``.json`` file that really holds one object per line. Everything else
that is broken is an error with its place: nothing is skipped.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from luthier.data.open_file import COMPRESSED, is_compressed, kind_of_file, open_raw, read_text_chunks
from luthier.data.read_json import read_json, read_json_lines
from luthier.data.read_tables import read_arrow, read_csv, read_parquet
from luthier.data.row import Row
from luthier.errors import DataError
from luthier.types import Source

GENERATED_PREFIX = "demo:"

Generator = Callable[[], Iterable[Mapping[str, Any]]]

# Rows that are made by code, not read from a file. A string "module:function" is imported when the rows are asked for.
GENERATED: dict[str, str | Generator] = {
    "demo:shop-sql": "luthier.demo.shop:training_rows",
    "demo:shop-sql-pairs": "luthier.demo.preferences:preference_rows",
    "demo:shop-sql-labelled": "luthier.demo.preferences:labelled_rows",
    "demo:shop-sql-text": "luthier.demo.preferences:text_rows",
}


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
    kind = kind_of_file(path)
    reader = READERS.get(kind)
    if reader is None:
        raise DataError(
            f"{path}: files of the kind '{kind or 'without a suffix'}' cannot be read; known: {', '.join(READERS)}, and "
            f"most of these with {' or '.join(COMPRESSED)} behind"
        )
    if is_compressed(path) and reader in (read_parquet, read_arrow):
        raise DataError(f"{path}: {kind} files cannot be read through {path.suffix}; unpack it first")
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
    with open_raw(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_file(path: Path) -> None:
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(_not_there(path)) from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error
    if stat.S_ISDIR(kind):
        inside = sorted(p.name for p in path.iterdir() if kind_of_file(p) in READERS)
        what = (
            f"data files in it: {', '.join(inside[:10])}"
            if inside
            else f"it holds no file of a kind known ({', '.join(READERS)})"
        )
        raise DataError(f"{path} is a folder; one file is wanted here. {what[0].upper()}{what[1:]}")
    if not stat.S_ISREG(kind):
        what = "pipe" if stat.S_ISFIFO(kind) else "device" if stat.S_ISCHR(kind) or stat.S_ISBLK(kind) else "socket"
        raise DataError(f"{path} is a {what}, and data are read more than once. Write them to a file first")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes)")


def _not_there(path: Path) -> str:
    """What to say where there is no such file."""
    if path.is_symlink():
        return f"{path} is a link to {path.readlink()}, which does not exist"
    parent = path.parent
    names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
    similar = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    if not parent.is_dir():
        hint = f"the folder {parent} does not exist either"
        if not path.suffix:  # owner/name, as a hub id is written
            hint += f". The data set of the Hugging Face hub is written hub:{parent.name}/{path.name}"
    elif similar:
        hint = f"similar files there: {', '.join(similar)}"
    else:
        data_files = sorted(n for n in names if kind_of_file(Path(n)) in READERS)
        hint = f"data files there: {', '.join(data_files[:10]) or 'none'}"
    return f"{path}: no such file; {hint}"


def _at_least_one(rows: Iterator[Row], path: Path) -> Iterator[Row]:
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise DataError(f"{path} holds no rows")


def _read_document(path: Path) -> Iterator[Row]:
    text = "".join(read_text_chunks(path))
    if text.strip():
        yield Row({"text": text}, Source(str(path), 1))


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
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".txt": _read_document,
    ".md": _read_document,
}
