"""`luthier data clean`: rows repaired by rule, undoable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_data_clean import show_cleaning, show_repairs
from luthier.errors import InputError


def clean(
    source: Annotated[
        str | None,
        typer.Argument(metavar="IN", help="Data file, folder or pattern; never changed.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.", show_default=False
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            help="A repair by name, several times; 'safe' stands for mojibake, control_characters, html_remnants, white_space, "
            "empty_answer and equal_rows, which are done unless told otherwise.",
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="Model whose control tokens are markers too (with --rule template_markers).",
            show_default=False,
        ),
    ] = None,
    list_repairs: Annotated[bool, typer.Option("--list", help="Name all repairs and do nothing.")] = False,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Repair rows in their own layout. All that is done is in OUT.ledger.jsonl; dropped rows are in OUT.dropped.jsonl.

    To undo it: luthier data undo OUT ORIGINAL.
    """
    if list_repairs:
        return show_repairs()
    if source is None or out is None:
        raise InputError(
            "Name what to read and what to write: luthier data clean IN OUT. Or --list, to see the repairs."
        )
    columns = read_columns(column)

    from luthier.workflows.data_clean import data_clean

    with terminal_reporter() as reporter:
        result = data_clean(
            [source], out, repairs=rule, tokenizer=tokenizer, format=format, columns=columns, reporter=reporter
        )
    return Outcome(result.to_json(), lambda console: show_cleaning(console, result))
