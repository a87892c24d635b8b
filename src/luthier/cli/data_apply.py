"""`luthier data apply`: what was decided in a review, done."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter

_LISTED = 5


def apply(
    source: Annotated[str, typer.Argument(metavar="IN", help="What was reviewed; never changed.")],
    decisions: Annotated[Path, typer.Argument(metavar="DECISIONS", help="What luthier data review wrote.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.")
    ],
) -> Outcome:
    """Write the rows as they were decided on: dropped ones go to OUT.dropped.jsonl, changes to OUT.ledger.jsonl.

    Rows that were kept, not decided or not looked at stay as they are. To undo it: luthier data undo OUT ORIGINAL.
    """
    from luthier.workflows.data_apply import data_apply

    with terminal_reporter() as reporter:
        result = data_apply([source], decisions, out, reporter=reporter)

    def show(console: Console) -> None:
        console.print(
            f"{result.path}: {result.num_kept:,} of {result.num_read:,} rows, {result.num_fixed:,} of them fixed",
            soft_wrap=True,
        )
        gone = "1 row" if result.num_dropped == 1 else f"{result.num_dropped:,} rows"
        console.print(f"{result.dropped}: {gone} dropped, with the notes as reasons", soft_wrap=True)
        if result.num_undecided:
            console.print(f"  {result.num_undecided} rows of the review are not decided; they stay", soft_wrap=True)
        for place, note in list(result.notes.items())[:_LISTED]:
            console.print(f"  note at {place}: {note}", soft_wrap=True)
        if len(result.notes) > _LISTED:
            console.print(f"  … and {len(result.notes) - _LISTED} more notes in {decisions}", soft_wrap=True)
        console.print(f"To undo: luthier data undo {shlex.quote(str(result.path))} ORIGINAL.jsonl", soft_wrap=True)
        console.print(f"Next: luthier data check {shlex.quote(str(result.path))}", soft_wrap=True)

    return Outcome(result.to_json(), show)
