"""`luthier evaluate`: measure a run against its base model."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

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
        list[str] | None,
        typer.Option(
            "--task",
            help="general (what may have been forgotten), safety (refusals, memorisation, leakage), another built-in task, a "
            "task file, or a known data set as NAME:FILE (gsm8k, mbpp, banking77, wikisql, mt_bench); repeat for several. "
            "Without: those of the recipe, or general.",
        ),
    ] = None,
    requirements: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            help='A gate, e.g. "sql.accuracy >= base + 0.2" or "lower(sql.accuracy - base) >= 0.1"; exit code 1 where it is '
            "not met. Repeat for several.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Generate all answers anew, also those already known.")
    ] = False,
) -> Outcome:
    """Answer the tasks with the base model and with the tuned one, compare row by row and say what the data allow to say.

    A task of your own is a short file, my_task.yaml:

    \b
    name: tickets
    data: tickets.jsonl       # relative to this file
    prompt: question          # its column with the question, or "Q: {question}"
    reference: answer         # its column with the right answer
    scorer: exact_match       # or {kind: numeric, tolerance: 0.01}
    examples: 4               # worked examples for the base model
    \b
    Scorers: exact_match, normalised_match, numeric, classification, multiple_choice,
    json_schema, sql_execution, code, regex, instructions, rouge, bleu, chrf,
    perplexity, preference, refusal, answered.
    """  # noqa: D301 - click wants the backspace itself: what follows it is not wrapped
    path = find_run(run)

    from luthier.workflows.evaluate import evaluate as run_evaluation

    with terminal_reporter() as reporter:
        result = run_evaluation(
            path, tasks=tasks or (), requirements=requirements or (), fresh=fresh, reporter=reporter
        )

    def show(console: Console) -> None:
        show_evaluation(console, result.tasks)
        for verdict in result.requirements:
            console.print(Text(verdict.sentence(), style="green" if verdict.met else "bold red"))
        show_next(console, (f"luthier report {RunFolder(path).typed} --open", "every answer"))

    return Outcome(result.to_json(), show, exit_code=0 if result.passed else 1)
