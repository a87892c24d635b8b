"""From what a person says to a `PlanRequest`: a recipe, or a model with a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from luthier.config.load import LoadedRecipe, load_recipe
from luthier.errors import InputError
from luthier.plan.job import Objective, ParametersKind
from luthier.workflows.plan import PlanRequest, request_from_recipe

PARAMETERS: tuple[ParametersKind, ...] = ("lora", "qlora", "full")
OBJECTIVES: tuple[Objective, ...] = ("dpo", "reward", "ppo")


def load(recipe: Path | None, overrides: Sequence[str], model: str | None) -> LoadedRecipe | None:
    """The recipe, where one was given.

    Raises:
        InputError: A recipe and a model were given.
        RecipeError: The recipe cannot be used.
    """
    if recipe is not None and model is not None:
        raise InputError(
            f"Give a recipe or --model, not both: {recipe} names its own model (override: model.name={model})."
        )
    return load_recipe(recipe, overrides) if recipe is not None else None


def from_recipe(loaded: LoadedRecipe, gpu: str, num_cards: int, prices: Path | None) -> PlanRequest:
    """A recipe's plan on a device."""
    return request_from_recipe(loaded, gpu=gpu, num_cards=num_cards, prices=prices)


def from_words(words: Mapping[str, Any]) -> PlanRequest:
    """A plan from options: ``method`` and ``trains`` become parameters and objective, the rest are the request's fields.

    Raises:
        InputError: The method is not known.
    """
    fields = dict(words)
    method, trains = str(fields.pop("method")).lower(), str(fields.pop("trains")).lower()
    if trains not in PARAMETERS:
        raise InputError(f"--trains takes {', '.join(PARAMETERS)}, not '{trains}'.")
    model = fields.pop("model") or ""
    if method in PARAMETERS:
        request = PlanRequest(model=model, parameters=method)  # type: ignore[arg-type]  # tested one line above
    elif method in OBJECTIVES:
        request = PlanRequest(model=model, parameters=trains, objective=method)  # type: ignore[arg-type]
    else:
        raise InputError(f"--method takes {', '.join((*PARAMETERS, *OBJECTIVES))}, not '{method}'.")
    return replace(request, **fields)


def needs_recipe(loaded: LoadedRecipe | None) -> LoadedRecipe:
    """The recipe that is to be measured.

    Raises:
        InputError: There is none.
    """
    if loaded is None:
        raise InputError("--calibrate measures a recipe's own steps: luthier plan my.yaml --calibrate")
    return loaded
