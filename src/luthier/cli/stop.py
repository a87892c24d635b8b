"""`luthier stop`: end a run from another terminal; its state is saved."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_runs import show_stop
from luthier.runs.find import find_run
from luthier.runs.launch import stop as stop_run

app = typer.Typer(add_completion=False)


@app.command()
def stop(
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
) -> Outcome:
    """Let a running run finish its step, save a checkpoint and end; wait for it.

    A run whose process has gone without a word is marked interrupted, so that it can be resumed.
    """
    path = find_run(run)
    with terminal_reporter() as reporter:
        reporter.stage(f"Stop {path.name}")
        stopped = stop_run(path)
    return Outcome(stopped.to_json(), lambda console: show_stop(console, stopped))
