"""`luthier models list`: the catalogue and the built-in models, with the memory that training each takes. No torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.errors import InputError
from luthier.models.builtin import BUILTIN, cached
from luthier.plan.catalogue import CatalogueModel, filter_catalogue
from luthier.plan.engine import ours_on
from luthier.plan.fit import USABLE_SHARE
from luthier.plan.job import Job, ParametersKind
from luthier.plan.locate import cached_snapshot
from luthier.plan.memory import plan_memory
from luthier.plan.policy import CheckpointPolicy
from luthier.units import GIB

TOKENS = 2048
"""Tokens at once that the memory figures are for; every layer is computed twice."""

METHODS: tuple[ParametersKind, ...] = ("qlora", "lora", "full")


@dataclass(frozen=True)
class ListedModel:
    """A model and what training it takes.

    Attributes:
        memory_bytes: Planned peak on a CUDA card by method, with `TOKENS` at once and checkpointing.
        path: Where it is ready; None where it is not.
        download_bytes: Of a built-in model; for others, its weights in bf16.
    """

    row: CatalogueModel
    num_parameters: int
    memory_bytes: dict[str, float]
    path: Path | None
    download_bytes: int
    note: str

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.row.name,
            "hub": self.row.hub,
            "parameters": self.num_parameters,
            "published_parameters": self.row.published,
            "licence": self.row.licence,
            "context": self.row.context,
            "template": self.row.template,
            "strengths": list(self.row.strengths),
            "note": self.note,
            "download_bytes": self.download_bytes,
            "path": str(self.path) if self.path else None,
            "memory_bytes": self.memory_bytes,
            "source": self.row.source,
        }


def list_models(
    *, memory: str | None = None, task: str | None = None, licence: str | None = None, only_cached: bool = False
) -> list[ListedModel]:
    """Models by size, smallest first.

    Args:
        memory: ``16GB``: only models that some method trains in it.
        task: Only models whose strengths name it.
        licence: Only models whose licence contains it.
        only_cached: Only models that are ready on this machine.

    Raises:
        InputError: The memory cannot be read.
        ModelError: No model has this task or licence; says which there are.
    """
    limit = memory_limit(memory) if memory is not None else None
    listed = [_listed(row) for row in filter_catalogue(task=task, licence=licence)]
    if only_cached:
        listed = [model for model in listed if model.path is not None]
    if limit is not None:
        listed = [model for model in listed if min(model.memory_bytes.values()) <= limit]
    return sorted(listed, key=lambda model: model.num_parameters)


def memory_limit(text: str) -> float:
    """``16GB``, ``16 GiB`` or ``16``: bytes that a training may take on such a card.

    Raises:
        InputError: It is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:gi?b?)?\s*", text.lower())
    if found is None or not float(found[1]):
        raise InputError(f"--memory takes a size such as 16GB, not '{text}'.")
    return float(found[1]) * USABLE_SHARE * GIB


def _listed(row: CatalogueModel) -> ListedModel:
    shape, builtin = row.shape, BUILTIN.get(row.name)
    policy = CheckpointPolicy.recompute_all(shape.num_layers)
    memory: dict[str, float] = {}
    for method in METHODS:
        attention = "eager" if shape.softcap else "fused"
        job = Job(shape, method, TOKENS, TOKENS, policy=policy, attention=attention)
        memory[method] = plan_memory(job, ours_on("cuda")).total_bytes
    total = shape.parameters().total
    return ListedModel(
        row=row,
        num_parameters=total,
        memory_bytes=memory,
        path=cached().get(row.name) or cached_snapshot(row.hub),
        download_bytes=builtin.download_bytes if builtin else 2 * total,
        note=builtin.note if builtin else row.note,
    )
