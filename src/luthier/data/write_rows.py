"""Rows → .jsonl or .json (also .gz): written aside and renamed at the very end, so that a file is whole or not there.

Never overwrites: data that people have are not replaced by what a command made of them.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Self

from luthier.data.open_file import kind_of_file
from luthier.errors import DataError, InputError
from luthier.runs.atomic import sync_folder
from luthier.types import Source


def require_new(path: Path) -> None:
    """See that a file can be made.

    Raises:
        InputError: Its kind cannot be written, it exists, or its folder does not.
    """
    if kind_of_file(path) not in (".jsonl", ".json") or path.suffix.lower() == ".zst":
        raise InputError(f"{path}: rows are written as .jsonl or .json (or .jsonl.gz, .json.gz); name the file so.")
    if path.exists():
        raise InputError(f"{path} exists already and is not overwritten. Choose another name or remove it.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"There is no folder {path.absolute().parent}; make it first.")


class RowFile:
    """A file that is being written; it has another name until `commit`."""

    def __init__(self, path: Path) -> None:
        require_new(path)
        self.path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._raw: IO[bytes] = self._aside.open("wb")
        # No name and no time inside: equal rows give equal bytes.
        packed = path.suffix.lower() == ".gz"
        self._file: Any = gzip.GzipFile("", "wb", 6, self._raw, mtime=0) if packed else self._raw
        self._is_list = kind_of_file(path) == ".json"
        self.num_rows = 0

    def write(self, values: Mapping[str, Any], source: Source | None = None) -> None:
        """Append a row.

        Raises:
            DataError: A value has no JSON form.
        """
        try:
            text = json.dumps(values, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"{source or self.path}: a value cannot be written as JSON: {error}") from error
        before = ("[\n" if not self.num_rows else ",\n") if self._is_list else ""
        self._file.write((before + text + ("" if self._is_list else "\n")).encode())
        self.num_rows += 1

    def close(self) -> None:
        """End the file under its other name, flushed to the disk."""
        if self._is_list:
            self._file.write(b"\n]\n" if self.num_rows else b"[]\n")
        if self._file is not self._raw:
            self._file.close()
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()

    def commit(self) -> None:
        """Give it its name."""
        require_new(self.path)
        os.replace(self._aside, self.path)
        sync_folder(self.path.absolute().parent)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._raw.close()
        self._aside.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


@contextmanager
def row_files(paths: Sequence[Path]) -> Iterator[list[RowFile]]:
    """Files that get their names together when the block ends well, and are gone when it does not."""
    for path in paths:
        require_new(path)
    with ExitStack() as stack:
        files = [stack.enter_context(RowFile(path)) for path in paths]
        yield files
        for file in files:
            file.close()
        for file in files:
            file.commit()
