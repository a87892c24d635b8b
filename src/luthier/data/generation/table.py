"""Rows of a table put into a template: no model, the same result each time.

A template is JSON: one row to make, or a list of rows, of which each is made from every row of the table. ``{column}`` in its
texts stands for what the table says there; ``{{`` and ``}}`` are braces.

    {"question": "What is the capital of {country}?", "answer": "{capital}"}
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from luthier.errors import InputError

_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
PROVENANCE = "generated"


class Template:
    """A checked template.

    Args:
        text: JSON, or the name of a file that holds it.

    Raises:
        InputError: It is no template.
    """

    def __init__(self, text: str) -> None:
        where = "--template"
        if not text.lstrip().startswith(("{", "[")):
            where = text
            try:
                text = Path(text).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "no UTF-8"
                raise InputError(
                    f"The template {where} cannot be read: {reason}. It is a JSON file, or JSON itself: "
                    '\'{"question": "What is the capital of {country}?", "answer": "{capital}"}\''
                ) from error
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(f"{where} is no JSON: {error}.") from error
        self.rows: list[Any] = found if isinstance(found, list) else [found]
        if not self.rows or not all(isinstance(row, dict) and row for row in self.rows):
            raise InputError(f"{where}: a template is an object with the columns to write, or a list of such objects.")
        self.columns = tuple(dict.fromkeys(column for row in self.rows for column in _columns(row, where)))
        if not self.columns:
            raise InputError(f"{where} names no column of the table: write {{column}} where its value is to stand.")
        if any(PROVENANCE in row for row in self.rows):
            raise InputError(f"{where}: the column '{PROVENANCE}' is written by luthier; choose another name.")

    def require_columns(self, there: Mapping[str, Any], place: str) -> None:
        """See that a table has the columns.

        Raises:
            InputError: One is missing.
        """
        for column in self.columns:
            if column not in there:
                near = difflib.get_close_matches(column, list(there), n=1)
                hint = f" Did you mean {{{near[0]}}}?" if near else ""
                raise InputError(f"{place} has no column '{column}'.{hint} It has: {', '.join(there)}.")

    def empty_columns(self, values: Mapping[str, Any]) -> list[str]:
        """Columns that are asked for and say nothing in this row."""
        return [name for name in self.columns if values.get(name) is None or not str(values[name]).strip()]

    def fill(self, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows made from one row of the table."""
        return [_filled(row, values) for row in self.rows]


def _columns(value: Any, where: str) -> Iterator[str]:
    if isinstance(value, str):
        for part in _PARTS.finditer(value):
            if part.group() in ("{", "}"):
                raise InputError(f"{where}: a single '{part.group()}' in {value!r}; write {{{{ or }}}} for a brace.")
            if part.group(1) is not None:
                yield part.group(1).strip()
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _columns(inner, where)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return _PARTS.sub(
            lambda part: part.group()[0] if part.group(1) is None else _said(values[part.group(1).strip()]), value
        )
    if isinstance(value, dict):
        return {key: _filled(inner, values) for key, inner in value.items()}
    return [_filled(inner, values) for inner in value] if isinstance(value, list) else value


def _said(value: Any) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
