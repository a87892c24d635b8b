"""`luthier data split`: rows to learn from and rows to hold out, as training would split them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter


def split(
    source: Annotated[str, typer.Argument(metavar="IN", help="Data file, folder or pattern; never changed.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for train.jsonl and validation.jsonl.")],
    validation: Annotated[float, typer.Option("--validation", help="Share of rows to hold out.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Decides which rows; train.seed in a recipe.")] = 0,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Write train.jsonl and validation.jsonl: the same split as training with this share and seed.

    Rows with equal prompts and nearly equal rows stay on one side. Rows are written as they stand.
    """
    columns = read_columns(column)

    from luthier.workflows.data_split import data_split

    with terminal_reporter() as reporter:
        result = data_split(
            [source], out, fraction=validation, seed=seed, format=format, columns=columns, reporter=reporter
        )

    def show(console: Console) -> None:
        console.print(f"{result.train}: {result.num_train:,} rows", soft_wrap=True)
        console.print(f"{result.validation}: {result.num_validation:,} rows", soft_wrap=True)
        console.print(
            f"{result.num_groups:,} groups of rows that belong together; the largest has {result.largest_group:,}."
        )

    return Outcome(result.to_json(), show)
