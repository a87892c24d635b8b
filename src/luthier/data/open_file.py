"""A data file's bytes and lines: plain, gzip or Zstandard, decoded strictly, never more than one bounded line in memory.

A compressed file is read like the file inside: its kind is what is left of its name without ``.gz`` or ``.zst``. Damage is
an error that says how far the file could be read.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.errors import DataError
from luthier.units import format_bytes

MOST_ROW_BYTES = 64 * 1024**2
"""Longest line, and longest JSON value or table row. No model reads that much at once: such a file is damaged, or is laid out
otherwise than its name says; and it is the most that a reader must hold."""

COMPRESSED = (".gz", ".zst")
_CHUNK_BYTES = 1 << 20
_DECOMPRESSED_BYTES = 1 << 16
"""Asked of a decompressor at once. It gives all of them or raises, so that is how exactly damage is located."""

_NOT_UTF8 = "save the file as UTF-8, e.g. iconv -f latin1 -t utf-8"


def kind_of_file(path: Path) -> str:
    """The suffix that says how a file is laid out, in lower case: ``.jsonl`` for ``rows.jsonl.gz``."""
    return Path(path.stem).suffix.lower() if is_compressed(path) else path.suffix.lower()


def is_compressed(path: Path) -> bool:
    """Whether the name ends in .gz or .zst."""
    return path.suffix.lower() in COMPRESSED


def open_raw(path: Path) -> io.BufferedReader:
    """The bytes as they are on the disk.

    Raises:
        DataError: The file cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror or error}") from error


def open_bytes(path: Path) -> io.BufferedReader:
    """The bytes inside, decompressed as they are read.

    Raises:
        DataError: The file cannot be opened, or, while reading, is damaged.
    """
    raw = open_raw(path)
    if not is_compressed(path):
        return raw
    return io.BufferedReader(_Decompressed(raw, path), _DECOMPRESSED_BYTES)


class _Decompressed(io.RawIOBase):
    """Decompresses, and turns what the decompressors raise into one error that says how far they got."""

    def __init__(self, raw: io.BufferedReader, path: Path) -> None:
        self._path = path
        self._raw = raw
        self._kind = "gzip" if path.suffix.lower() == ".gz" else "Zstandard"
        self._inner: Any = gzip.GzipFile(fileobj=raw) if self._kind == "gzip" else _open_zstandard(raw, path)
        self._num_bytes = 0
        self._num_lines = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._inner.read(min(len(buffer), _DECOMPRESSED_BYTES))
        except (OSError, EOFError, zlib.error) as error:
            got = (
                f"{format_bytes(self._num_bytes)} ({self._num_lines} lines) could be read before"
                if self._num_bytes
                else "nothing of it could be read"
            )
            raise DataError(
                f"{self._path}: damaged or cut off {self._kind} data ({error}); {got}. "
                "Fetch or compress the file again; what could be read is not used"
            ) from error
        self._num_bytes += len(content)
        self._num_lines += content.count(b"\n")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _open_zstandard(raw: io.BufferedReader, path: Path) -> Any:
    import pyarrow as pa

    if not pa.Codec.is_available("zstd"):
        raise DataError(f"{path}: this build of pyarrow cannot read Zstandard; unpack the file (zstd -d {path.name})")
    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, decoded strictly, without byte order mark; line ends are kept.

    Raises:
        DataError: A line is no UTF-8, holds a NUL byte, or is longer than `MOST_ROW_BYTES`.
    """
    with open_bytes(path) as file:
        number = 0
        while raw := file.readline(MOST_ROW_BYTES + 1):
            number += 1
            if len(raw) > MOST_ROW_BYTES:
                raise DataError(
                    f"{path}:{number}: the line is longer than {format_bytes(MOST_ROW_BYTES)}; rows of that size cannot be "
                    f"learnt from. It begins with {raw[:40]!r}. A JSON document in one line is named .json"
                )
            yield number, _decode_line(raw, path, number)


def read_text_chunks(path: Path) -> Iterator[str]:
    """The text in pieces of about a megabyte, whatever its lines are; decoded as strictly.

    Raises:
        DataError: The text is no UTF-8 or holds a NUL byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    num_lines = 0
    line_bytes = 0  # of the unfinished last line
    is_first = True
    with open_bytes(path) as file:
        while True:
            raw = file.read(_CHUNK_BYTES)
            kept = len(decoder.getstate()[0])
            if is_first:
                raw, is_first = _without_mark(raw, path), False
            if b"\0" in raw:
                at = raw.index(0)
                line, byte = _position(raw, at, num_lines, line_bytes)
                raise DataError(f"{path}:{line}: NUL byte at byte {byte} of the line; the file is binary or damaged")
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                line, byte = _position(raw, max(0, error.start - kept), num_lines, line_bytes)
                shown = error.object[error.start : error.start + 4].hex(" ")
                raise DataError(
                    f"{path}:{line}: not UTF-8 at byte {byte} of the line (bytes {shown}); {_NOT_UTF8}"
                ) from error
            if text:
                yield text
            if not raw:
                return
            line, byte = _position(raw, len(raw), num_lines, line_bytes)
            num_lines, line_bytes = line - 1, byte - 1


def _position(raw: bytes, at: int, num_lines: int, line_bytes: int) -> tuple[int, int]:
    """Line and byte within it, both from 1, of a place in a chunk."""
    start = raw.rfind(b"\n", 0, at) + 1
    return num_lines + raw.count(b"\n", 0, at) + 1, at - start + 1 + (0 if start else line_bytes)


def _without_mark(raw: bytes, path: Path) -> bytes:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16; save it as UTF-8 (iconv -f utf-16 -t utf-8)")
    return raw.removeprefix(b"\xef\xbb\xbf")


def _decode_line(raw: bytes, path: Path, number: int) -> str:
    if number == 1:
        raw = _without_mark(raw, path)
    if b"\0" in raw:
        raise DataError(
            f"{path}:{number}: NUL byte at byte {raw.index(0) + 1} of the line; the file is binary or damaged"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = raw[error.start : error.start + 4].hex(" ")
        raise DataError(
            f"{path}:{number}: not UTF-8 at byte {error.start + 1} of the line (bytes {shown}); {_NOT_UTF8}"
        ) from error
