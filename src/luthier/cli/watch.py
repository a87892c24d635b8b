"""`luthier watch`: follow a run from another terminal."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_runs import show_state
from luthier.errors import Interrupted
from luthier.runs.find import find_run
from luthier.workflows.watch import state_of
from luthier.workflows.watch import watch as follow

app = typer.Typer(add_completion=False)


@app.command()
def watch(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
) -> Outcome:
    """Show how a run goes on, until it ends. Ctrl-C ends the watching, not the run.

    With --json the state as it is, once. Exit code: 0 running or verified, 1 ended in any other way.
    """
    path = find_run(run)
    if context.obj.wants_json:
        state = state_of(path)
    else:
        try:
            with terminal_reporter() as reporter:
                state = follow(path, reporter)
        except KeyboardInterrupt:
            words = f"Stopped watching; the run goes on. End it with: luthier stop {run}"
            raise Interrupted(signal.SIGINT, words) from None
    good = state.is_good or state.status == "running"
    return Outcome(state.to_json(), lambda console: show_state(console, state), 0 if good else 1)
