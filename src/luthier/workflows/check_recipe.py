"""What a recipe names must be there: data files, model folder, template, tasks, sinks. All that is missing is told at once.

Cheap by design: of each data file the first row is read, of a model nothing, and nothing heavy is imported for a good recipe.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from luthier.config.evaluate import EvaluateSection
from luthier.config.load import OVERRIDE, LoadedRecipe
from luthier.data.find_files import find_files
from luthier.data.hub import is_hub_name
from luthier.data.sources import is_generated, read_rows
from luthier.errors import InputError, RecipeError
from luthier.models.builtin import BUILTIN
from luthier.training.trackers import require_sinks
from luthier.workflows.check_parametrisation import parametrisation_problems

MOST_FILES_OPENED = 20


def require_inputs(loaded: LoadedRecipe) -> None:
    """Look for everything that a recipe names.

    Raises:
        RecipeError: Something is not there; names all of it, each with its place in the recipe.
    """
    recipe = loaded.recipe
    looks: dict[str, Callable[[], None]] = {
        "model.name": lambda: _look_for_model(recipe.model.name),
        "data.train": lambda: _look_for_data(recipe.data.train, loaded, "data.train"),
        "data.validation": lambda: _look_for_data(recipe.data.validation, loaded, "data.validation"),
        "run.sinks": lambda: require_sinks(recipe.run.sinks),
        "evaluate.tasks": lambda: _look_for_tasks(recipe.evaluate.tasks),
        "evaluate.during": lambda: _look_for_watched(recipe.evaluate),
    }
    problems: list[str] = []
    for name, look in looks.items():
        try:
            look()
        except InputError as error:
            problems.append(f"{_place(loaded, name)}{name}: {error}")
    problems += [f"{_place(loaded, name)}{words}" for name, words in parametrisation_problems(recipe)]
    if problems:
        raise RecipeError(problems, where=str(loaded.path or "recipe"))


def _place(loaded: LoadedRecipe, name: str) -> str:
    origin = loaded.origins[name]
    if loaded.path is None:
        return ""
    return f"{loaded.path.parent / origin}: " if origin.startswith(loaded.path.name) else f"{origin}: "


def _look_for_model(name: str) -> None:
    path = Path(name).expanduser()
    is_hub_id = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    if name.lower() in BUILTIN or is_hub_id or (path / "config.json").is_file():
        return
    from luthier.models.load import find_model  # says what is wrong

    find_model(name)


def _look_for_data(names: Sequence[str], loaded: LoadedRecipe, field: str) -> None:
    try:
        here = [name for name in names if not is_hub_name(name)]  # a check fetches nothing
        for file in find_files(here)[:MOST_FILES_OPENED]:
            next(iter(read_rows(file)), None)
    except InputError as error:
        hints = [_other_folder(name, loaded, field) for name in names if not is_generated(name)]
        raise InputError("\n    ".join([str(error), *filter(None, hints)])) from error


def _other_folder(name: str, loaded: LoadedRecipe, field: str) -> str | None:
    """A path that was meant from the other of the two folders: paths in a recipe start at its own, overrides at the current."""
    if loaded.path is None or Path(name).exists():
        return None
    here, folder = Path.cwd(), loaded.path.parent.absolute()
    is_override = loaded.origins[field] == OVERRIDE
    began_at, other = (here, folder) if is_override else (folder, here)
    meant = other / os.path.relpath(name, began_at)
    if not meant.exists():
        return None
    rule = "an override start at the current folder" if is_override else "a recipe start at the recipe's folder"
    return f"Paths in {rule}. Did you mean {os.path.relpath(meant, began_at)}?"


def _look_for_tasks(names: Sequence[str]) -> None:
    if names:
        from luthier.workflows.evaluate import find_tasks

        find_tasks(names)


def _look_for_watched(section: EvaluateSection) -> None:
    if section.during:
        from luthier.workflows.watch_tasks import find_watched

        find_watched(section)
