"""`luthier evaluate`: measure a run against its base model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

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
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            help="general (what may have been forgotten), safety (refusals, memorisation, leakage), heldout (rows that the "
            "run kept back), another built-in task, a task file, or a known data set as NAME:FILE (gsm8k, mbpp, banking77, "
            "wikisql, mt_bench); repeat for several. "
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
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="OTHER",
            help="Another contender: a run, RUN@best or RUN@last, a .gguf file, a model or adapter folder, a model's name, or "
            "MODEL@http://…/v1 for an endpoint. Repeat for several.",
            show_default=False,
        ),
    ] = None,
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="NAME", help="Environment variable with the endpoint's key.")
    ] = "OPENAI_API_KEY",
    parallel: Annotated[int, typer.Option(min=1, help="Questions to an endpoint at once.")] = 4,
    per_minute: Annotated[
        float | None, typer.Option("--per-minute", help="Questions to an endpoint at most.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that an endpoint may take for an answer.")] = 120,
    price_in: Annotated[
        float | None,
        typer.Option("--price-in", help="Of a million tokens of questions to an endpoint.", show_default=False),
    ] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", help="Of a million tokens of its answers.", show_default=False)
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Make all answers anew, also those already known; not what an endpoint was paid for."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before an endpoint is used.")] = False,
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
