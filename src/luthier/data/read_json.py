"""Rows out of JSON lines and JSON documents, one value in memory at a time.

A document is a list of objects, or an object with such a list under "data", however it is laid out; a ``.json`` file that
really holds one object per line is read as that. Every row keeps the line on which it begins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luthier.data.open_file import MOST_ROW_BYTES, read_lines, read_text_chunks
from luthier.data.row import Row, excerpt
from luthier.errors import DataError
from luthier.types import Source
from luthier.units import format_bytes

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def read_json_lines(path: Path) -> Iterator[Row]:
    """One object per line; blank lines are passed over."""
    for number, text in read_lines(path):
        if text.strip():
            yield _json_line(text, path, number)


def read_json(path: Path) -> Iterator[Row]:
    """A document."""
    scanner = JsonScanner(path)
    first = scanner.peek()
    if first == "[":
        yield from scanner.rows()
        scanner.require_end()
    elif first == "{":
        if scanner.holds_more_objects():
            yield from read_json_lines(path)
        else:
            yield from _rows_under_data(scanner, path)
    elif first:
        place = Source(str(path), scanner.line)
        value = scanner.value()
        raise DataError(f"{place}: expected a list of objects, found {_kind(value)}: {excerpt(json.dumps(value))}")


def _rows_under_data(scanner: JsonScanner, path: Path) -> Iterator[Row]:
    keys: list[str] = []
    lists: list[str] = []
    for key in scanner.object_keys():
        keys.append(key)
        if scanner.peek() != "[":
            scanner.value()
        elif key == "data":
            yield from scanner.rows()
        else:
            lists.append(key)
            scanner.pass_list()
    scanner.require_end()
    if "data" in keys:
        return
    hint = f" Lists are under: {', '.join(lists[:5])}; save one of them as the file." if lists else ""
    raise DataError(
        f"{path}:1: one JSON object with the keys {', '.join(keys[:5])}; expected a list of objects or "
        f'{{"data": [...]}}; a file with one object per line is named .jsonl.{hint}'
    )


class JsonScanner:
    """Reads a document value by value and forgets what it has read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chunks = read_text_chunks(path)
        self._text = ""
        self._at = 0
        self._is_whole = False
        self.line = 1
        self._column = 1  # of the first character of `_text`
        self._counted = 0

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text) or not self._read_more():
                self._count_lines()
                return self._text[self._at : self._at + 1]

    def value(self) -> Any:
        """The value that begins here."""
        return self._value()[0]

    def _value(self) -> tuple[Any, str]:
        """A value and the text that it stood in."""
        self.peek()
        while True:
            try:
                found, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._is_whole:  # it may only be cut off by the end of what was read so far
                    self._read_more()
                    continue
                self._broken(error.pos, error.msg, cause=error)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{self._path}:{self.line}: broken JSON ({error}) in the value that begins there"
                ) from error
            else:
                # A number that ends where the text ends may go on.
                if end == len(self._text) and self._text[end - 1].isdigit() and not self._is_whole:
                    self._read_more()
                    continue
                text = self._text[self._at : end]
                self._at = end
                return found, text

    def rows(self) -> Iterator[Row]:
        """The objects of the list that begins here."""
        for value, line, text in self._elements():
            yield _object_row(value, Source(str(self._path), line), text)

    def pass_list(self) -> None:
        """Read over the list that begins here."""
        for _ in self._elements():
            pass

    def _elements(self) -> Iterator[tuple[Any, int, str]]:
        self._take()
        if self.peek() == "]":
            self._take()
            return
        while True:
            self.peek()
            line = self.line
            value, text = self._value()
            yield value, line, text
            following = self.peek()
            if following not in (",", "]"):
                self._broken(self._at, "expected ',' or ']' after this row; the file may be cut off")
            if following == ",":
                self._take()
                if self.peek() == "]":
                    self._broken(self._at, "a comma before the closing bracket")
            else:
                self._take()
                return

    def object_keys(self) -> Iterator[str]:
        """The keys of the object that begins here; the caller reads each one's value."""
        self._take()
        if self.peek() == "}":
            self._take()
            return
        while True:
            if self.peek() != '"':
                self._broken(self._at, "expected a key in double quotes; the file may be cut off")
            key = str(self.value())
            if self.peek() != ":":
                self._broken(self._at, "expected ':' after a key")
            self._take()
            yield key
            following = self.peek()
            if following not in (",", "}"):
                self._broken(self._at, "expected ',' or '}' after this value; the file may be cut off")
            self._take()
            if following == "}":
                return

    def holds_more_objects(self) -> bool:
        """Whether another object follows the one that begins here, as far as the first piece of text shows."""
        try:
            _, end = _DECODER.raw_decode(self._text, self._at)
        except (ValueError, RecursionError):
            return False
        match = _SPACE.match(self._text, end)
        assert match is not None
        return self._text[match.end() : match.end() + 1] == "{"

    def require_end(self) -> None:
        """Nothing may follow."""
        if self.peek():
            self._broken(self._at, "more text after the end of the document")

    def _take(self) -> None:
        self._at += 1

    def _read_more(self) -> bool:
        """Put more text behind what is unread, as much again, up to the limit; False at the end of the file."""
        if self._is_whole:
            return False
        self._forget()
        if len(self._text) > MOST_ROW_BYTES:
            raise DataError(
                f"{self._path}:{self.line}: the JSON value that begins at column {self._column} is longer than "
                f"{format_bytes(MOST_ROW_BYTES)}, or broken: {excerpt(self._text)}. Expected a list of objects, one for each "
                "row"
            )
        pieces = [self._text]
        wanted = max(1, min(len(self._text), MOST_ROW_BYTES + 1 - len(self._text)))
        while wanted > 0:
            piece = next(self._chunks, None)
            if piece is None:
                self._is_whole = True
                break
            pieces.append(piece)
            wanted -= len(piece)
        self._text = "".join(pieces)
        return len(pieces) > 1

    def _count_lines(self) -> None:
        self.line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at

    def _forget(self) -> None:
        """Drop what has been read."""
        self._count_lines()
        start = self._text.rfind("\n", 0, self._at) + 1
        self._column = self._at - start + 1 if start else self._column + self._at
        self._text = self._text[self._at :]
        self._at = self._counted = 0

    def _broken(self, position: int, what: str, cause: Exception | None = None) -> None:
        self._count_lines()
        line = self.line + self._text.count("\n", self._counted, position)
        start = self._text.rfind("\n", 0, position) + 1
        column = position - start + (1 if start else self._column)
        shown = self._text[position : position + 200] or self._text[max(0, position - 60) : position]
        if cause is not None:
            shown = self._text[start : start + 200] or shown
        raise DataError(f"{self._path}:{line}: broken JSON at column {column} ({what}) in {excerpt(shown)}") from cause


def _json_line(text: str, path: Path, number: int) -> Row:
    place = Source(str(path), number)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        hint = ""
        if number == 1 and text.strip() in ("[", "{", "[{"):
            hint = ". The file looks like one JSON document over many lines: name it .json"
        raise DataError(
            f"{place}: broken JSON at column {error.colno} ({error.msg}) in {excerpt(text)}{hint}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: broken JSON ({error}) in {excerpt(text)}") from error
    return _object_row(value, place, text)


def _object_row(value: Any, place: Source, text: str) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{place}: a row must be a JSON object {{...}}, found {_kind(value)}: {excerpt(text)}")
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{place}: half of a surrogate pair (\\ud8xx without its partner) in {excerpt(text)}"
            ) from error
    return Row(value, place)


def _kind(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "true/false", int: "a number", float: "a number", dict: "an object"}
    return "null" if value is None else names[type(value)]
