"""`luthier data dedup`: rows without repetitions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter


def dedup(
    source: Annotated[str, typer.Argument(metavar="IN", help="Data file, folder or pattern; never changed.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.")
    ],
    near: Annotated[
        float | None,
        typer.Option("--near", help="Also drop rows at least this similar to an earlier one: 0.8", show_default=False),
    ] = None,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Keep the first of equal rows. The others go to a file beside OUT (OUT.dropped.jsonl), each with the reason."""
    columns = read_columns(column)

    from luthier.workflows.data_dedup import data_dedup

    with terminal_reporter() as reporter:
        result = data_dedup([source], out, near=near, format=format, columns=columns, reporter=reporter)

    def show(console: Console) -> None:
        near_words = "" if near is None else f", {result.num_near:,} nearly equal"
        console.print(f"{result.path}: {result.num_kept:,} of {result.num_read:,} rows", soft_wrap=True)
        console.print(f"{result.dropped}: {result.num_equal:,} equal{near_words}, with reasons", soft_wrap=True)

    return Outcome(result.to_json(), show)
