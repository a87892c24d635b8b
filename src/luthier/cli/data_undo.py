"""`luthier data undo`: the rows that were read, from what cleaning made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter


def undo(
    cleaned: Annotated[
        Path, typer.Argument(metavar="CLEANED", help="What clean or redact --ledger wrote; its ledger lies beside it.")
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .jsonl or .json, also with .gz. Never overwritten.")
    ],
) -> Outcome:
    """Write the rows as they were before luthier data clean (or redact --ledger), in their order, each checked by its hash."""
    from luthier.workflows.data_undo import data_undo

    with terminal_reporter() as reporter:
        result = data_undo(cleaned, out, reporter=reporter)

    def show(console: Console) -> None:
        console.print(
            f"{result.path}: {result.num_rows:,} rows as they were read ({result.num_reverted:,} changed back, "
            f"{result.num_put_back:,} put back); all hashes are right",
            soft_wrap=True,
        )
        console.print(f"Next: luthier data check {result.path}", soft_wrap=True)

    return Outcome(result.to_json(), show)
