"""The fields of a recipe in words: what each takes, its default and what it does. From the sections themselves."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TypedDict

from pydantic.fields import FieldInfo

from luthier.config.problems import NAMES_ELSEWHERE, describe_field, leaf_fields
from luthier.config.recipe import Recipe
from luthier.config.yaml_source import write_value
from luthier.errors import InputError


class FieldWords(TypedDict):
    """One field: dotted name, values it takes, default (empty: required) and meaning."""

    name: str
    takes: str
    default: str
    meaning: str


def recipe_fields(selection: str | None = None) -> list[FieldWords]:
    """All fields, or those of one section, or one field.

    Raises:
        InputError: No section and no field has this name.
    """
    fields = leaf_fields(Recipe)
    chosen = {n: f for n, f in fields.items() if selection is None or n == selection or n.startswith(f"{selection}.")}
    if not chosen:
        near = get_close_matches(str(selection), [*Recipe.model_fields, *fields], n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Sections: {', '.join(Recipe.model_fields)}."
        raise InputError(f"A recipe has no section or field '{selection}'. {hint}")
    return [_in_words(name, found) for name, found in chosen.items()]


def field_like(word: str) -> str | None:
    """The dotted name of the field that a word means, here or in another trainer: ``lr`` → ``train.learning_rate``."""
    names = list(leaf_fields(Recipe))
    by_leaf = {name.rpartition(".")[2]: name for name in reversed(names)}
    if word in names or word in by_leaf or word in NAMES_ELSEWHERE:
        return word if word in names else by_leaf.get(word) or NAMES_ELSEWHERE[word]
    near = get_close_matches(word, [*names, *by_leaf], n=1, cutoff=0.8)
    return by_leaf.get(near[0], near[0]) if near else None


def _in_words(name: str, fields: Sequence[FieldInfo]) -> FieldWords:
    """Fields of one name: one, or one per kind of section."""
    optional = [f for f in fields if not f.is_required()]
    return {
        "name": name,
        "takes": describe_field(*fields),
        "default": write_value(optional[0].get_default(call_default_factory=True)) if optional else "",
        "meaning": " ".join((fields[0].description or "").split()),
    }
