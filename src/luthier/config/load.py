"""From a YAML file and dotted overrides to a checked recipe that knows where each of its values came from.

All problems are reported at once, each with its file and line. Paths written in a recipe start at the recipe's folder,
paths given by an override at the current folder; both are absolute once loaded.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from luthier.config.overrides import apply_overrides
from luthier.config.paths import absolute_paths
from luthier.config.problems import explain, leaf_fields
from luthier.config.recipe import Recipe
from luthier.config.resolve import dump_resolved, origin_of_computed, resolve
from luthier.config.schema import recipe_schema
from luthier.config.yaml_source import KeyPath, read_yaml
from luthier.errors import RecipeError

__all__ = ["LoadedRecipe", "dump_resolved", "load_recipe", "recipe_schema", "resolve"]

OVERRIDE = "override"
DEFAULT = "default"
DATA_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".md")
"""Never recipes. JSON may be one: it is YAML."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe.

    Attributes:
        recipe: The values, as given; those that are computed from others are still None (see `resolve`).
        origins: For every dotted leaf where its value comes from: "recipe.yaml:7", "override", "given" (from Python),
            "default", "default for adapters", "default for full fine-tuning".
        path: The file it was read from; None for a recipe given as a mapping.
    """

    recipe: Recipe
    origins: Mapping[str, str]
    path: Path | None


def load_recipe(path_or_mapping: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and check a recipe.

    Args:
        path_or_mapping: A YAML file, or the same content as nested mappings.
        overrides: Dotted values that win over the file: ``train.learning_rate=1e-4``, ``adapter.target_modules=[q_proj]``.

    Raises:
        RecipeError: With every problem found, each with file and line.
    """
    if isinstance(path_or_mapping, Mapping):
        path, where = None, "recipe"
        data: Any = copy.deepcopy(dict(path_or_mapping))
        places: dict[KeyPath, str] = {(): "given"}
        problems: list[str] = []
    else:
        path = Path(path_or_mapping).expanduser()
        where = str(path)
        data, places, problems = _read_file(path)
    problems += apply_overrides(data, overrides, places)
    for section in Recipe.model_fields:
        if section in data and data[section] is None:  # a section whose keys are all commented out
            data[section] = {}
    folder = path.parent.absolute() if path else Path.cwd()
    absolute_paths(data, lambda at: Path.cwd() if _place(places, at).startswith(OVERRIDE) else folder)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        found = sorted(explain(error, Recipe, data), key=lambda p: _line(_place(places, p.path)))
        problems += [
            f"{place}: {p.message}" if (place := _place(places, p.path)) != "given" else p.message for p in found
        ]
        recipe = None
    if problems or recipe is None:
        raise RecipeError(problems, where=where)
    return LoadedRecipe(recipe, _origins(recipe, data, places, path), path)


def _read_file(path: Path) -> tuple[dict[str, Any], dict[KeyPath, str], list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError([f"There is no file {path}. {_similar(path)}"], where=str(path)) from None
    except IsADirectoryError:
        raise RecipeError([f"{path} is a folder. {_similar(path / '*')}"], where=str(path)) from None
    except UnicodeDecodeError as error:
        raise RecipeError(
            [f"{path} is not UTF-8 text (byte {error.start}). A recipe is a YAML file."], where=str(path)
        ) from None
    except OSError as error:
        raise RecipeError([f"{path} cannot be read: {error.strerror}."], where=str(path)) from error
    if path.name.removesuffix(".gz").endswith(DATA_SUFFIXES):
        raise RecipeError(
            [f"{path} is a data file. A recipe is a YAML file that names it: data: {{train: {path.name}}}"],
            where=str(path),
        )
    source = read_yaml(text)
    problems = [f"{path}:{line}: {words}" for line, words in source.problems]
    if source.problems and source.data is None:
        raise RecipeError(problems, where=str(path))
    if source.data is None:
        raise RecipeError(
            [f"{path}:1: the file is empty. A recipe needs the sections model, data and run."], where=str(path)
        )
    if not isinstance(source.data, dict):
        kind = "a list" if isinstance(source.data, list) else "a single value"
        raise RecipeError(
            [f"{path}:1: this is {kind}; a recipe is a mapping of sections (model:, data:, run:)."], where=str(path)
        )
    places = {(): f"{path}:1"} | {key: f"{path}:{line}" for key, line in source.lines.items()}
    return source.data, places, problems  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]


def _similar(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"The folder {folder} does not exist either."
    recipes = sorted(p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml"))
    near = get_close_matches(path.name, recipes, n=1)
    if near:
        return f"Did you mean {folder / near[0]}?"
    return f"Recipes in {folder}: {', '.join(recipes)}." if recipes else f"There are no .yaml files in {folder}."


def _place(places: Mapping[KeyPath, str], path: KeyPath) -> str:
    """Where the value at `path` was written; for what is missing, where its section was."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return places.get((), "given")


def _line(place: str) -> tuple[bool, int]:
    """Order of problems: by line of the file, then overrides."""
    if place.startswith(OVERRIDE):
        return True, 0
    number = place.rpartition(":")[2]
    return False, int(number) if number.isdigit() else 0


def _origins(
    recipe: Recipe, data: Mapping[str, Any], places: Mapping[KeyPath, str], path: Path | None
) -> dict[str, str]:
    origins: dict[str, str] = {}
    values = recipe.model_dump()
    for name in leaf_fields(Recipe):
        section, key = name.split(".")
        if key not in values[section]:
            continue
        computed = origin_of_computed(recipe, name)
        if computed:
            origins[name] = computed
        elif not _is_given(data, section, key):
            origins[name] = DEFAULT
        else:
            inside = [place for at, place in places.items() if at[:2] == (section, key)]
            place = next((p for p in inside if p.startswith(OVERRIDE)), _place(places, (section, key)))
            number = place.rpartition(":")[2]
            origins[name] = OVERRIDE if place.startswith(OVERRIDE) else f"{path.name}:{number}" if path else "given"
    return origins


def _is_given(data: Mapping[str, Any], section: str, key: str) -> bool:
    return isinstance(data.get(section), Mapping) and key in data[section]
