"""Models known by name, from catalogue.yaml: hub id, licence, template, strengths and shape, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from luthier.errors import ModelError
from luthier.plan.shapes import Shape, read_shape


@dataclass(frozen=True)
class CatalogueModel:
    """A row of the catalogue.

    Attributes:
        name: What recipes and commands may call it.
        hub: Its hub id.
        licence: As its authors name it; read it before you sell what you tune.
        template: Kind of chat template.
        published: A parameter count somebody else published ("7.61B").
        published_source: Where.
        source: Where the numbers of `config` are from.
        strengths: What its authors say it is good for.
        config: Fields of its config.json that decide sizes.
        note: What to know; empty where there is nothing.
    """

    name: str
    hub: str
    licence: str
    template: str
    published: str
    published_source: str
    source: str
    strengths: tuple[str, ...]
    config: Mapping[str, Any]
    note: str = ""

    @property
    def shape(self) -> Shape:
        """Its shape."""
        return read_shape(self.config, f"catalogue row {self.name}")

    @property
    def context(self) -> int:
        """Most tokens that it was built for."""
        return int(self.config["max_position_embeddings"])


@lru_cache(maxsize=1)
def load_catalogue() -> tuple[CatalogueModel, ...]:
    """All rows, in the order of the file."""
    text = files("luthier.plan").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tuple(CatalogueModel(**{**row, "strengths": tuple(row["strengths"])}) for row in rows)


def find_in_catalogue(name: str) -> CatalogueModel | None:
    """The row with this name or hub id, whatever the case; None where there is none."""
    wanted = name.strip().lower()
    return next((row for row in load_catalogue() if wanted in (row.name, row.hub.lower())), None)


def filter_catalogue(*, task: str | None = None, licence: str | None = None) -> tuple[CatalogueModel, ...]:
    """Rows whose strengths name the task and whose licence contains the words.

    Raises:
        ModelError: No row names this task (or licence); says which there are.
    """
    rows = load_catalogue()
    if task is not None:
        tasks = sorted({s for row in rows for s in row.strengths})
        matching = [t for t in tasks if task.lower() in t]
        if not matching:
            raise ModelError(f"No model's strengths name '{task}'. They name: {', '.join(tasks)}.")
        rows = tuple(row for row in rows if set(row.strengths) & set(matching))
    if licence is not None:
        licences = sorted({row.licence for row in load_catalogue()})
        if not any(licence.lower() in known.lower() for known in licences):
            raise ModelError(f"No model has a licence like '{licence}'. There are: {', '.join(licences)}.")
        rows = tuple(row for row in rows if licence.lower() in row.licence.lower())
    return rows
