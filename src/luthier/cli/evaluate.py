"""`luthier evaluate`: measure a run against its base model."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.views import show_evaluation, show_next
from luthier.runs.find import find_run
from luthier.runs.folder import RunFolder

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
    tasks: Annotated[
        list[str] | None, typer.Option("--task", help="A task; repeat for several. Without: those of the recipe.")
    ] = None,
) -> Outcome:
    """Answer the tasks with the base model and with the tuned one, compare row by row and say what the data allow to say.

    A task of your own is a short file, my_task.yaml:

    \b
    name: tickets
    data: tickets.jsonl       # relative to this file
    prompt: question          # its column with the question
    reference: answer         # its column with the right answer
    scorer: exact_match       # or sql_execution, with database: FILE
    """  # noqa: D301 - click wants the backspace itself: what follows it is not wrapped
    path = find_run(run)

    from luthier.workflows.evaluate import evaluate as run_evaluation

    with terminal_reporter() as reporter:
        result = run_evaluation(path, tasks=tasks or (), reporter=reporter)

    def show(console: Console) -> None:
        show_evaluation(console, result.tasks)
        show_next(console, (f"luthier report {RunFolder(path).typed} --open", "every answer"))

    return Outcome(result.to_json(), show)
