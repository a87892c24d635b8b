"""`luthier train`: run a recipe, or continue a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luthier.cli.dispatch import Outcome
from luthier.cli.render import terminal_reporter
from luthier.cli.show_runs import show_launch
from luthier.cli.views import show_train
from luthier.config.load import load_recipe
from luthier.errors import InputError
from luthier.runs.find import find_run

app = typer.Typer(add_completion=False)


@app.command()
def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe file, e.g. recipes/sft_lora.yaml.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Values that win over the recipe: train.epochs=1 adapter.rank=8", show_default=False),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Continue a run: its name or its folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run of the same name.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Train in a process of its own that outlives this terminal.")
    ] = False,
) -> Outcome:
    """Train as a recipe says, or continue a run.

    Ctrl-C finishes the step, saves a checkpoint and ends with exit code 130; --resume goes on from there.
    --detach returns once the run has its folder; then: luthier watch RUN, luthier stop RUN.
    Exit code 1: the run ended, but a check failed (it is marked unverified and its weights are kept).
    """
    if resume is not None and (recipe is not None or overwrite):
        raise InputError("--resume takes recipe and data from the run itself; give either a recipe or --resume RUN.")
    if resume is None and recipe is None:
        raise InputError("Nothing to train: give a recipe (luthier train recipes/sft_lora.yaml) or --resume RUN.")
    loaded = load_recipe(recipe, overrides or ()) if recipe is not None else None
    run = find_run(resume) if resume is not None else None

    if detach:
        from luthier.workflows.launch import launch_resume, launch_training

        if loaded is not None:
            launched = launch_training(loaded, overrides or (), overwrite=overwrite)
        else:
            assert run is not None
            launched = launch_resume(run)
        return Outcome(launched.to_json(), lambda console: show_launch(console, launched))

    from luthier.workflows import train as workflow

    with terminal_reporter() as reporter:
        if loaded is not None:
            result = workflow.train(loaded, overwrite=overwrite, reporter=reporter)
        else:
            assert run is not None
            result = workflow.resume(run, reporter=reporter)
    exit_code = 0 if result.verdict == "verified" else 1
    return Outcome(result.to_json(), lambda console: show_train(console, result), exit_code)
