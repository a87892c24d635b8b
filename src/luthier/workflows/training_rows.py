"""The rows that a run learnt from, read again from its files: to see what an evaluation has in common with them."""

from __future__ import annotations

from pathlib import Path

from luthier.config.recipe import Recipe
from luthier.data.find_files import find_files
from luthier.data.prepare import read_files
from luthier.data.split import split
from luthier.data.tokenize import Item
from luthier.runs.folder import RunFolder


def read_training_rows(folder: RunFolder, recipe: Recipe) -> list[Item]:
    """The training side of the run's data, as the recipe splits it; dropped rows too.

    Raises:
        DataError: The files are gone, or are no longer those that the run was trained on.
    """
    record = folder.read_json("data.json") or {}
    expected = {str(file["path"]): str(file["sha256"]) for file in record.get("files", [])}
    files: list[str | Path] = list(find_files(recipe.data.train))
    items = read_files(files, recipe.data.format, recipe.data.columns, recipe.data.limit, expected).items
    if recipe.data.validation or not recipe.data.validation_fraction:
        return items
    assert recipe.train.seed is not None
    return [items[row] for row in split(items, recipe.data.validation_fraction, recipe.train.seed).train]
