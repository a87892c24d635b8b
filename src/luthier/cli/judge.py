"""`luthier judge`: a model judges a run's answers."""

from __future__ import annotations

import typer

from luthier.cli import judge_options as options
from luthier.cli.confirm import confirm_asking
from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_judge import estimate_lines, estimate_outcome, show_judged
from luthier.errors import InputError
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


@app.command()
def judge(
    context: typer.Context,
    run: options.Run,
    task: options.Task,
    judge: options.Judge,
    endpoint: options.Endpoint = None,
    by: options.By = options.Manner.pairwise,
    against: options.Against = None,
    rubric: options.Rubric = None,
    labels: options.Labels = None,
    limit: options.Limit = None,
    max_tokens: options.MaxTokens = 512,
    key_env: options.KeyEnv = "OPENAI_API_KEY",
    parallel: options.Parallel = None,
    per_minute: options.PerMinute = None,
    timeout: options.Timeout = None,
    price_in: options.PriceIn = None,
    price_out: options.PriceOut = None,
    estimate: options.Estimate = False,
    yes: options.Yes = False,
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
