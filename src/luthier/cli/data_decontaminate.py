"""`luthier data decontaminate`: rows without those that evaluation sets have too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from luthier.cli.columns import Columns, Format, read_columns
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter

if TYPE_CHECKING:
    from luthier.workflows.data_decontaminate import DecontaminateResult


def decontaminate(
    source: Annotated[str, typer.Argument(metavar="IN", help="Data file, folder or pattern; never changed.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.")
    ],
    against: Annotated[
        list[str], typer.Option("--against", help="Evaluation file, folder or pattern; may be given several times.")
    ],
    run_words: Annotated[
        int, typer.Option("--run-words", help="So many words in a row must be the same; 0 to not look for runs.")
    ] = 13,
    format: Format = "auto",
    column: Columns = None,
) -> Outcome:
    """Put rows aside that an evaluation set has too: equal, nearly equal, or with 13 words in a row in common.

    They go to a file beside OUT (OUT.dropped.jsonl), each with the reason and the evaluation row. What more than 10 rows have in
    common, such as a fixed instruction, is no reason.
    """
    columns = read_columns(column)

    from luthier.workflows.data_decontaminate import data_decontaminate

    with terminal_reporter() as reporter:
        result = data_decontaminate(
            [source], out, against, run_words=run_words or None, format=format, columns=columns, reporter=reporter
        )
    return Outcome(result.to_json(), lambda console: _show(console, result))


def _show(console: Console, result: DecontaminateResult) -> None:
    gone = result.num_read - result.num_kept
    console.print(f"{result.path}: {result.num_kept:,} of {result.num_read:,} rows", soft_wrap=True)
    console.print(
        f"{result.dropped}: {gone:,} rows that {result.num_met:,} of {result.num_evaluation:,} evaluation rows have too "
        f"({result.counts['equal']:,} equal, {result.counts['near']:,} nearly, {result.counts['run']:,} by a run of words)",
        soft_wrap=True,
    )
    if result.num_without_layout:
        console.print(
            f"  {result.num_without_layout:,} evaluation rows fit no known layout and were compared by every text in them",
            soft_wrap=True,
        )
    console.print(f"Next: luthier data check {result.path}", soft_wrap=True)
