"""The rows that a run learnt from, and those it held out, read again from its files: what an evaluation has in common with
them, and what the model knows of them by heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from luthier.config.recipe import Recipe
from luthier.data.answers import compared, imitated
from luthier.data.find_files import find_files
from luthier.data.read_files import read_files
from luthier.data.row_kinds import AnyRow
from luthier.data.split import Split, split
from luthier.data.tokenize import Item
from luthier.runs.folder import RunFolder
from luthier.workflows.build_objective import rows_needed


def read_training_rows(folder: RunFolder, recipe: Recipe) -> list[Item]:
    """The training side of the run's data, as the recipe splits it; dropped rows too, of pairs the chosen answers.

    Raises:
        DataError: The files are gone, or are no longer those that the run was trained on.
    """
    items = _read(folder, recipe, recipe.data.train)
    if recipe.data.validation or not recipe.data.validation_fraction:
        return [imitated(item) for item in items]
    return [imitated(items[row]) for row in _split(items, recipe).train]


def read_held_out_rows(folder: RunFolder, recipe: Recipe) -> list[Item]:
    """The validation side of the run's data; none where it has none.

    Raises:
        DataError: As `read_training_rows`.
    """
    if recipe.data.validation:
        return [imitated(item) for item in _read(folder, recipe, recipe.data.validation)]
    if not recipe.data.validation_fraction:
        return []
    items = _read(folder, recipe, recipe.data.train)
    return [imitated(items[row]) for row in _split(items, recipe).validation]


def _split(items: Sequence[AnyRow], recipe: Recipe) -> Split:
    assert recipe.train.seed is not None
    return split([compared(item) for item in items], recipe.data.validation_fraction, recipe.train.seed)


def _read(folder: RunFolder, recipe: Recipe, names: Sequence[str]) -> list[AnyRow]:
    record = folder.read_json("data.json") or {}
    described = [*record.get("files", []), *record.get("validation_files", [])]
    expected = {str(file["path"]): str(file["sha256"]) for file in described}
    files: list[str | Path] = list(find_files(names))
    needed = rows_needed(recipe.objective)
    return read_files(files, recipe.data.format, recipe.data.columns, recipe.data.limit, expected, rows=needed).items
