"""`luthier compare`: runs side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.show_compare import show_comparison
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more runs: names below ./runs, or paths of folders.")],
) -> Outcome:
    """Show what differs in recipe and data, losses and curves, and paired differences of task scores.

    The first run is the one that the others are held against. A page with overlaid curves is written beside it.
    """
    paths = [find_run(run) for run in runs]

    from luthier.workflows.compare import compare_runs

    result = compare_runs(paths)
    return Outcome(result.to_json(), lambda console: show_comparison(console, result))
