"""`luthier plan`: what a training takes, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_plan import show_best, show_calibration, show_plan

app = typer.Typer(add_completion=False)


@app.command()
def plan(
    recipe: Annotated[Path | None, typer.Argument(help="Recipe file; or use --model.", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Values that win over the recipe: adapter.rank=8", show_default=False)
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name from `luthier models list`, folder or hub id.")] = None,
    method: Annotated[str, typer.Option(help="lora, qlora, full, dpo, reward or ppo.")] = "lora",
    trains: Annotated[
        str, typer.Option("--trains", help="What dpo, reward and ppo train: lora, qlora or full.")
    ] = "lora",
    context: Annotated[int | None, typer.Option(min=8, help="Longest row in tokens.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Rows per optimiser step over all cards.")] = 16,
    micro_batch_tokens: Annotated[int | None, typer.Option(min=8, help="Tokens that go through at once.")] = None,
    rank: Annotated[int, typer.Option(min=1, help="Of the adapter.")] = 16,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute layers twice to save memory.")
    ] = False,
    gpu: Annotated[str, typer.Option(help="T4, RTX-4090, A100, H100, M3-Max, cpu, …; here: this machine.")] = "here",
    cards: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
    data: Annotated[list[str] | None, typer.Option(help="Data files: number and length of rows.")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Number of rows, without data.")] = None,
    epochs: Annotated[float, typer.Option(min=0.01, help="Passes over the rows.")] = 3.0,
    task: Annotated[str | None, typer.Option(help="Without a model: only models good for this.")] = None,
    hours: Annotated[float | None, typer.Option(help="Without a model: only trainings that end by then.")] = None,
    prices: Annotated[Path | None, typer.Option(help="Your own prices, a file like the shipped one.")] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure ten real steps of RECIPE here first.")
    ] = False,
) -> Outcome:
    """Show memory by term, what fits where, time and money; and what to change where it does not fit.

    RECIPE, or --model with --method; without either: the best that --gpu can do with --data.
    """
    from luthier.workflows import plan_request

    loaded = plan_request.load(recipe, overrides or (), model)
    words: dict[str, Any] = {
        "model": model, "method": method, "trains": trains, "context": context, "batch_rows": batch, "rank": rank,
        "micro_batch_tokens": micro_batch_tokens, "checkpointing": checkpointing or "auto", "data": tuple(data or ()),
        "num_rows": rows, "epochs": epochs, "gpu": gpu, "num_cards": cards, "prices": prices,
    }  # fmt: skip
    if loaded is None and model is None:
        from luthier.workflows.plan_best import best_for

        with terminal_reporter() as reporter:
            best = best_for(plan_request.from_words(words), task=task, most_hours=hours, reporter=reporter)
        return Outcome(best.to_json(), lambda console: show_best(console, best))
    request = plan_request.from_words(words) if loaded is None else plan_request.from_recipe(loaded, gpu, cards, prices)
    if calibrate:
        from luthier.workflows.calibrate import calibrate as measure

        with terminal_reporter() as reporter:
            calibration = measure(plan_request.needs_recipe(loaded), reporter)
        return Outcome(calibration.to_json(), lambda console: show_calibration(console, calibration))

    from luthier.workflows.plan import plan as make

    with terminal_reporter() as reporter:
        result = make(request, reporter)
    return Outcome(result.to_json(), lambda console: show_plan(console, result))
