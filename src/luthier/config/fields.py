"""The fields of a recipe in words: what each takes, its default and what it does. From the sections themselves."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TypedDict, get_args

from pydantic import BaseModel
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
    kinds = _kinds(name)
    values = [None if f.is_required() else write_value(f.get_default(call_default_factory=True)) for f in fields]
    defaults: dict[str, list[str]] = {}
    for kind, value in zip(kinds or [""] * len(fields), values, strict=True):
        if value is not None:
            defaults.setdefault(value, []).append(kind)
    differ = len(defaults) > 1
    only = f"({', '.join(kinds)}) " if kinds and len(kinds) < _num_kinds(name) else ""
    return {
        "name": name,
        "takes": describe_field(*fields),
        "default": ", ".join(f"{value} ({', '.join(of)})" if differ else value for value, of in defaults.items()),
        "meaning": only + " ".join((fields[0].description or "").split()),
    }


def _sections_by_kind(name: str) -> dict[str, type[BaseModel]]:
    """The section of a field by the kind that it calls itself; empty where there is one kind only."""
    found = Recipe.model_fields[name.partition(".")[0]]
    if not isinstance(found.discriminator, str):
        return {}
    sections: tuple[type[BaseModel], ...] = get_args(found.annotation)
    return {get_args(s.model_fields[found.discriminator].annotation)[0]: s for s in sections}


def _num_kinds(name: str) -> int:
    return len(_sections_by_kind(name))


def _kinds(name: str) -> list[str]:
    """Which kinds of its section have a field, where there are several kinds."""
    leaf = name.rpartition(".")[2]
    return [kind for kind, section in _sections_by_kind(name).items() if leaf in section.model_fields]
