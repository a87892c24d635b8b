"""`luthier train --detach`: what is cheap is checked here, then the run goes on in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.config.load import LoadedRecipe, resolve
from luthier.errors import InputError
from luthier.runs.claim import refuse_running, refuse_taken_name
from luthier.runs.folder import RunFolder
from luthier.runs.launch import Launched, launch
from luthier.workflows.check_recipe import require_inputs


def launch_training(recipe: LoadedRecipe, overrides: Sequence[str] = (), *, overwrite: bool = False) -> Launched:
    """Start the training of a recipe and return when it has its run folder.

    Args:
        recipe: From `load_recipe`, with `overrides`.
        overrides: The dotted values that it was loaded with.
        overwrite: Replace an earlier run of the same name.

    Raises:
        LuthierError: As `train`, for all that goes wrong before the run has its folder.
    """
    if recipe.path is None:
        raise InputError("A detached run reads its recipe from a file; this one was given as a mapping.")
    run = resolve(recipe).run
    refuse_taken_name(run.path, overwrite)
    require_inputs(recipe)
    return launch(["train", str(recipe.path), *overrides, *(["--overwrite"] if overwrite else [])], run.path)


def launch_resume(run: Path) -> Launched:
    """Continue an interrupted run without a terminal, and return when it is at work.

    Raises:
        LuthierError: As `resume`, for all that goes wrong before it goes on.
    """
    refuse_running(RunFolder.open(run))
    return launch(["train", "--resume", str(run)], run)
