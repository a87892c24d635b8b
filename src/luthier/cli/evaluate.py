"""`luthier evaluate`: measure a run against its base model."""

from __future__ import annotations

from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.views import show_evaluation
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="A task; repeat for several. Without: those of the recipe.")
    ] = None,
) -> Outcome:
    """Answer the tasks with the base model and with the tuned one, compare row by row and say what the data allow to say."""
    path = find_run(run)

    from luthier.workflows.evaluate import evaluate as run_evaluation

    with terminal_reporter() as reporter:
        result = run_evaluation(path, tasks=tasks or (), reporter=reporter)
    return Outcome(result.to_json(), lambda console: show_evaluation(console, result.tasks))
