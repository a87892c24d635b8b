"""What can be trained on a device: method × model size × context, each cell planned, none looked up. No torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from luthier.plan.catalogue import CatalogueModel, load_catalogue
from luthier.plan.engine import ours_on
from luthier.plan.hardware import Hardware, find_hardware
from luthier.plan.job import ParametersKind
from luthier.plan.locate import FoundModel
from luthier.plan.memory import plan_memory
from luthier.plan.remedies import first_patch
from luthier.workflows.plan import PlanRequest, build_job
from luthier.workflows.plan_best import HARMFUL

CONTEXTS = (1024, 4096, 16384)
SIZES = (0.135e9, 0.5e9, 1.5e9, 3e9, 7e9, 14e9, 32e9, 70e9)
"""Parameters; for each the nearest model of the catalogue that is built for the longest context stands in."""
METHODS: tuple[ParametersKind, ...] = ("lora", "full", "qlora")


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        needed_bytes: Planned peak, with `overrides` where those are needed; None where it does not fit.
        overrides: What a recipe needs besides model and data.
        beyond_context: The model was built for shorter rows.
    """

    model: str
    num_parameters: int
    parameters: ParametersKind
    context: int
    needed_bytes: float | None
    overrides: tuple[str, ...]
    beyond_context: bool = False


@dataclass(frozen=True)
class Trainable:
    """The table, models by size, then methods, then contexts."""

    device: Hardware
    cells: tuple[Cell, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "device": self.device.name,
            "usable_bytes": self.device.usable_bytes,
            "cells": [asdict(cell) for cell in self.cells],
        }


def trainable_here(gpu: str = "here") -> Trainable:
    """Plan every cell on a device.

    Raises:
        ResourceError: The device is not known.
    """
    device = find_hardware(gpu)
    rows = dict.fromkeys(_nearest(size) for size in SIZES)
    cells = [_cell(_row(name), p, context, device) for name in rows for p in METHODS for context in CONTEXTS]
    return Trainable(device, tuple(cells))


def _row(name: str) -> CatalogueModel:
    return next(row for row in load_catalogue() if row.name == name)


def _nearest(size: float) -> str:
    fitting = [row for row in load_catalogue() if row.context >= CONTEXTS[1]]
    return min(fitting, key=lambda row: (abs(row.shape.parameters().total - size) / size, -row.context)).name


def _cell(row: CatalogueModel, parameters: ParametersKind, context: int, device: Hardware) -> Cell:
    total = row.shape.parameters().total
    if context > row.context:
        return Cell(row.name, total, parameters, context, None, (), beyond_context=True)
    if parameters == "qlora" and device.kind == "mps":
        return Cell(row.name, total, parameters, context, None, ())  # bitsandbytes does not run there
    found = FoundModel(row.name, row.shape, row.source, None, row)
    job, _ = build_job(PlanRequest(row.name, parameters, context=context), found, device, None)
    engine, overrides = ours_on(device.kind), ()
    needed: float | None = plan_memory(job, engine).total_bytes
    assert needed is not None
    if needed > device.usable_bytes:
        patch = first_patch(job, engine, device, device.usable_bytes)
        if patch is None or set(patch.names) & set(HARMFUL):
            needed = None
        else:
            needed, overrides = plan_memory(patch.job, engine).total_bytes, tuple(patch.overrides)
    return Cell(row.name, total, parameters, context, needed, overrides)
