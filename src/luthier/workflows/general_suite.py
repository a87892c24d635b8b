"""Which tasks follow a training: those of the recipe, and the general suite where it is wanted or costs next to nothing."""

from __future__ import annotations

import statistics

from luthier.config import Recipe
from luthier.evaluation.suite.general import cost
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest

GENERAL = "general"
MOST_SHARE_OF_TRAINING = 0.1
"""The suite runs unasked where it is expected to take at most this share of the training's time."""


def tasks_after_training(folder: RunFolder, recipe: Recipe) -> tuple[str, ...]:
    """Names of the tasks to run on a finished training."""
    tasks, wish = recipe.evaluate.tasks, recipe.evaluate.general
    if GENERAL in tasks or wish == "never":
        return tasks
    seconds = suite_seconds(folder)
    is_cheap = seconds is not None and seconds <= MOST_SHARE_OF_TRAINING * Manifest.load(folder).seconds
    wanted = wish == "always" or recipe.evaluate.forgetting_tolerance is not None or is_cheap
    return (*tasks, GENERAL) if wanted else tasks


def tasks_unnamed(recipe: Recipe) -> tuple[str, ...]:
    """Names of the tasks where nobody names any: the recipe's, and the suite where the recipe limits losses or names nothing."""
    tasks, is_limited = recipe.evaluate.tasks, recipe.evaluate.forgetting_tolerance is not None
    wants_suite = not tasks or (is_limited and recipe.evaluate.general != "never" and GENERAL not in tasks)
    return (*tasks, GENERAL) if wants_suite else tasks


def suite_seconds(folder: RunFolder) -> float | None:
    """Expected time of the suite for base and tuned model, from the speed that the training had; None where it had none.

    A token that is generated counts as one that is trained: it takes a third of the compute, in far smaller products.
    """
    speeds = [r["tokens_per_second"] for r in folder.read_lines("metrics.jsonl") if r["kind"] == "train"]
    if not speeds:
        return None
    read, generated = cost()
    return 2 * (read / 3 + generated) / statistics.median(speeds)
