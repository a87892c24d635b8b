"""`luthier evaluate`: measure a run against its base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from luthier.cli import evaluate_options as options
from luthier.cli.confirm import confirm_asking
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_judge import estimate_lines
from luthier.cli.views import show_evaluation, show_next
from luthier.errors import InputError
from luthier.runs.find import find_run
from luthier.runs.folder import RunFolder

if TYPE_CHECKING:
    from luthier.evaluation.asking_estimate import AskingEstimate

app = typer.Typer(add_completion=False)


@app.command()
def evaluate(
    context: typer.Context,
    run: options.Run,
    tasks: options.Tasks = None,
    requirements: options.Requirements = None,
    others: options.Others = None,
    key_env: options.KeyEnv = "OPENAI_API_KEY",
    parallel: options.Parallel = 4,
    per_minute: options.PerMinute = None,
    timeout: options.Timeout = 120,
    price_in: options.PriceIn = None,
    price_out: options.PriceOut = None,
    fresh: options.Fresh = False,
    yes: options.Yes = False,
) -> Outcome:
    """Answer the tasks with the base model and with the tuned one, compare row by row and say what the data allow to say.

    Others may answer too (--with), in the same words and settings; what it takes is shown, and confirmed, before an endpoint is
    asked. Answers are kept: the same command goes on after a crash, and pays nothing twice.

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
    from luthier.workflows.rivals import EndpointTerms

    if (price_in is None) != (price_out is None):
        raise InputError("Give both prices, --price-in and --price-out, or none.")
    with terminal_reporter() as reporter:

        def before_asking(estimate: AskingEstimate) -> None:
            for line in estimate_lines(estimate, "the endpoint", "answers"):
                reporter.say(line)
            if not yes:
                confirm_asking(context.obj)

        result = run_evaluation(
            path,
            tasks=tasks or (),
            requirements=requirements or (),
            others=others or (),
            terms=EndpointTerms(key_env, per_minute, timeout, parallel, price_in, price_out),
            before_asking=before_asking,
            fresh=fresh,
            reporter=reporter,
        )

    def show(console: Console) -> None:
        show_evaluation(console, result.tasks)
        for verdict in result.requirements:
            console.print(Text(verdict.sentence(), style="green" if verdict.met else "bold red"))
        show_next(console, (f"luthier report {RunFolder(path).typed} --open", "every answer"))

    return Outcome(result.to_json(), show, exit_code=0 if result.passed else 1)
