"""`luthier data convert`: rows in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter


def convert(
    source: Annotated[str, typer.Argument(metavar="IN", help="Data file, folder or pattern; never changed.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.")
    ],
    to: Annotated[str, typer.Option("--to", help="messages, sharegpt, alpaca or prompt_completion.")],
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Write although the layout cannot say everything.")
    ] = False,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Write rows in another layout. What that cannot say is counted and named first, and refused unless --allow-loss.

    Columns that no layout reads go along as they are. Of preference pairs and labelled answers the good answer is written.
    """
    columns = read_columns(column)

    from luthier.workflows.data_convert import data_convert

    with terminal_reporter() as reporter:
        result = data_convert(
            [source], out, to, allow_loss=allow_loss, format=format, columns=columns, reporter=reporter
        )

    def show(console: Console) -> None:
        console.print(f"{result.path}: {result.num_written:,} of {result.num_read:,} rows as {to}", soft_wrap=True)
        for loss in result.losses:
            console.print(f"  lost: {loss.what} ({loss.num_rows:,} rows, first {loss.first})", soft_wrap=True)
        if not result.losses:
            console.print("  nothing is lost")

    return Outcome(result.to_json(), show)
