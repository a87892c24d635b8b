"""Defaults that depend on other fields, and the resolved recipe as text: every value with where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from luthier.config.recipe import (
    LEARNING_RATE_ADAPTER,
    LEARNING_RATE_FULL,
    LEARNING_RATE_PREFERENCE_ADAPTER,
    LEARNING_RATE_PREFERENCE_FULL,
    Recipe,
)
from luthier.config.yaml_source import write_value

if TYPE_CHECKING:
    from luthier.config.load import LoadedRecipe


def resolve(loaded: LoadedRecipe) -> Recipe:
    """The recipe with the defaults filled in that follow from the recipe alone; its origins are `loaded.origins`."""
    recipe = loaded.recipe
    if recipe.train.learning_rate is not None:
        return recipe
    if recipe.compares:
        learning_rate = LEARNING_RATE_PREFERENCE_FULL if recipe.is_full else LEARNING_RATE_PREFERENCE_ADAPTER
    else:
        learning_rate = LEARNING_RATE_FULL if recipe.is_full else LEARNING_RATE_ADAPTER
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": learning_rate})})


def origin_of_computed(recipe: Recipe, name: str) -> str | None:
    """The origin of a leaf that `resolve` will fill in; None for all others."""
    if name == "train.learning_rate" and recipe.train.learning_rate is None:
        what = "preferences, " if recipe.compares else ""
        return f"default for {what}full fine-tuning" if recipe.is_full else f"default for {what}adapters"
    return None


def dump_resolved(recipe: Recipe, origins: Mapping[str, str]) -> str:
    """YAML with one line per value and its origin as a comment. Loading it gives the same recipe.

    Args:
        recipe: Usually from `resolve`; a workflow may have filled in more.
        origins: By dotted leaf; a leaf that is not in it is an error of the caller.
    """
    lines: list[str] = []
    for section, values in recipe.model_dump().items():
        lines.append(f"{section}:")
        for key, value in values.items():
            lines.append(f"  {key}: {write_value(value)}  # {origins[f'{section}.{key}']}")
    return "\n".join(lines) + "\n"
