"""`luthier judge`: a model judges a run's answers."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.confirm import confirm_asking
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_judge import estimate_lines, estimate_outcome, show_judged
from luthier.errors import InputError
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


class By(StrEnum):
    """How is judged."""

    pairwise = "pairwise"
    rubric = "rubric"


@app.command()
def judge(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="Name of a run below ./runs, or the path of its folder.")],
    task: Annotated[
        str,
        typer.Option(
            help="An evaluated task by its name, or what luthier evaluate --task takes: it is evaluated first then."
        ),
    ],
    judge: Annotated[
        str,
        typer.Option(
            "--judge",
            metavar="MODEL",
            help="As the endpoint names it; without one a model here: a run, a name, a folder.",
        ),
    ],
    endpoint: Annotated[
        str | None,
        typer.Option(metavar="URL", help="OpenAI-compatible server: http://localhost:8000/v1", show_default=False),
    ] = None,
    by: Annotated[
        By, typer.Option(help="pairwise: two answers side by side, in both orders. rubric: each in points, 1 to 10.")
    ] = By.pairwise,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="base (the default), few_shot, another contender of the evaluation, or another run; repeat for several.",
            show_default=False,
        ),
    ] = None,
    rubric: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Text that says what makes an answer good.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='What people say, .jsonl: {"id", "winner"}, with --by rubric {"id", "contender", "score"}. Without: what was '
            "decided in luthier blind, where there is any.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge only the first rows.", show_default=False)] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=16, help="Longest verdict.")] = 512,
    key_env: Annotated[
        str, typer.Option("--key-env", metavar="NAME", help="Environment variable with the endpoint's key.")
    ] = "OPENAI_API_KEY",
    parallel: Annotated[
        int | None,
        typer.Option(min=1, help="Questions at once: 4 to an endpoint, 16 to a model here.", show_default=False),
    ] = None,
    per_minute: Annotated[
        float | None, typer.Option("--per-minute", help="Questions to the endpoint at most.", show_default=False)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that the endpoint may take for an answer (120).", show_default=False)
    ] = None,
    price_in: Annotated[
        float | None, typer.Option("--price-in", help="Of a million tokens of questions.", show_default=False)
    ] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", help="Of a million tokens of verdicts.", show_default=False)
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only say what it would take.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before an endpoint is used.")] = False,
) -> Outcome:
    """Let a model judge the answers of an evaluation. What it takes is shown, and confirmed, before an endpoint is asked.

    Told with the result: how often the order of two answers changed the verdict, the win rate if both were equally long, verdicts
    that made no sense (asked for once more, never scored), and how far people agree. Each verdict is kept: the same command goes
    on after a crash, and pays nothing twice.
    """
    path = find_run(run)
    if (price_in is None) != (price_out is None):
        raise InputError("Give both prices, --price-in and --price-out, or none.")

    from luthier.workflows.data_generate import Prices
    from luthier.workflows.judge import judge_answers, plan_judging
    from luthier.workflows.load_chat_model import ChatModelChoice

    with terminal_reporter() as reporter:
        plan = plan_judging(
            path,
            task,
            ChatModelChoice(judge, endpoint, key_env, timeout, per_minute, parallel),
            by=by.value,  # pyright: ignore[reportArgumentType]
            against=against or ["base"],
            criteria=rubric,
            labels=labels,
            limit=limit,
            max_tokens=max_tokens,
            prices=None if price_in is None or price_out is None else Prices(price_in, price_out),
            reporter=reporter,
        )
        if estimate:
            return estimate_outcome(plan)
        for line in estimate_lines(plan.estimate):
            reporter.say(line)
    if endpoint is not None and not yes and plan.estimate.num_known < plan.estimate.num_questions:
        confirm_asking(context.obj, ", or --estimate")
    with terminal_reporter() as reporter:
        result = judge_answers(plan, reporter=reporter)
    return Outcome(result.to_json(), lambda console: show_judged(console, result))
