"""Options that say how rows of a file are read, the same for all sub-commands of `luthier data`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from luthier.errors import InputError

Format = Annotated[str, typer.Option("--format", help="Layout of the rows, if it is not to be recognised.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="part=column where names differ: prompt=question", show_default=False),
]


def read_columns(pairs: Sequence[str] | None) -> dict[str, str]:
    """``["prompt=question"]`` → ``{"prompt": "question"}``.

    Raises:
        InputError: One is written otherwise.
    """
    columns: dict[str, str] = {}
    for text in pairs or ():
        part, equals, name = text.partition("=")
        if not equals or not part or not name:
            raise InputError(f"--column takes part=column, for example prompt=question; found '{text}'.")
        columns[part] = name
    return columns
