"""`luthier data show`: one row token by token, through the function that training tokenises with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from luthier.data.find_files import find_files
from luthier.data.formats import convert, recognise
from luthier.data.sources import read_rows
from luthier.data.token_view import TokenRow, text_pieces, view_row
from luthier.data.tokenize import tokenize
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.workflows.data_inspect import DEFAULT_MODEL, load_template

MOST_TOKENS = 4000
"""Of a longer row only its beginning and its end are shown."""
_RECOGNISED_BY = 1000
_SILENT = Silent()


@dataclass(frozen=True)
class ShownRow:
    """A row as it is learnt.

    Attributes:
        file: Where it stands.
        row: Its number, counted from 1.
        format: Layout recognised, by the rows up to it and the first thousand.
        model: Whose tokenizer and chat template were used.
        examples: One; several where the template rewrites earlier turns, so that each is learnt as it is generated.
    """

    file: str
    row: int
    format: str
    model: str
    examples: tuple[TokenRow, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.__dict__, "examples": [example.to_json() for example in self.examples]}


def data_show(
    name: str | Path,
    row: int = 1,
    *,
    model: str = DEFAULT_MODEL,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> ShownRow:
    """Tokenise one row.

    Args:
        name: A file.
        row: Its number, counted from 1.
        model: Name, folder or hub id of the model whose tokenizer and chat template are used.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told what happens.

    Raises:
        InputError: There is no such row.
        DataError: The file cannot be read, its columns fit no layout, or the row cannot be learnt from.
    """
    if row < 1:
        raise InputError(f"Rows are counted from 1; there is no row {row}.")
    files = find_files([name])
    if len(files) != 1:
        raise InputError(f"{name} stands for {len(files)} files; name one of them, e.g. {files[0]}.")
    rows = read_rows(files[0])
    before = list(islice(rows, max(row, _RECOGNISED_BY)))
    if row > len(before):
        raise InputError(f"{files[0]} has {len(before)} rows; there is no row {row}.")
    row_format = recognise(before, format, columns)
    chosen = before[row - 1]
    converted = convert([chosen], row_format)
    if converted.problems:
        raise DataError(f"{chosen.source}: {converted.problems[0].message}")
    template, _ = load_template(model, reporter)
    tokens = tokenize(
        [(row - 1, converted.items[0])], template, max_length=2**31 - 1, overlong="error", reporter=reporter
    ).tokens
    examples: list[TokenRow] = []
    for index in range(len(tokens)):
        ids = np.concatenate([segment.ids for segment in tokens[index].segments]).tolist()
        shown = view_row(tokens, index, template.tokenizer)
        if len(ids) <= MOST_TOKENS and shown.gap_before:
            weights = chain.from_iterable(segment.weights.tolist() for segment in tokens[index].segments)
            trained = tuple(weight > 0 for weight in weights)
            pieces = tuple(text_pieces(ids, template.tokenizer))
            shown = TokenRow("", len(ids), sum(trained), tuple(ids), pieces, trained, 0)
        examples.append(TokenRow(**{**shown.to_json(), "source": str(chosen.source)}))
    return ShownRow(files[0], row, row_format.name, model, tuple(examples))
