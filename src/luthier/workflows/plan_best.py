"""The other way round: the best that can be done with a card and rows. Every model of the catalogue is tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from luthier.errors import ResourceError
from luthier.plan.catalogue import CatalogueModel, load_catalogue
from luthier.plan.engine import ours_on
from luthier.plan.hardware import Hardware, find_hardware
from luthier.plan.job import Job, ParametersKind
from luthier.plan.memory import plan_memory
from luthier.plan.remedies import first_patch
from luthier.plan.time import training_time
from luthier.reporter import Reporter, Silent
from luthier.workflows.plan import PlanRequest, build_job, plan_amount, plan_rows
from luthier.workflows.plan_data import RowFacts

METHODS: tuple[ParametersKind, ...] = ("full", "lora", "qlora")
HARMFUL = ("shorter context", "adapter", "QLoRA")
"""Remedies that make another training of it; a candidate that needs one is none."""


@dataclass(frozen=True)
class Candidate:
    """A model and a method that fit.

    Attributes:
        overrides: What a recipe needs besides model and data.
        needed_bytes: Planned peak.
        hours: Of the training; None without a number of rows.
    """

    name: str
    parameters: ParametersKind
    num_parameters: int
    overrides: tuple[str, ...]
    needed_bytes: float
    hours: float | None
    strengths: tuple[str, ...]
    licence: str


@dataclass(frozen=True)
class BestResult:
    """What fits.

    Attributes:
        best: The largest model that can be trained there with an adapter on 16-bit weights, within the hours of a limit.
        in_four_bits: The largest one with an adapter on 4-bit weights.
        full: The largest one that can be trained whole.
        candidates: The largest of each method, and what lies below, largest first.
    """

    device: Hardware
    rows: RowFacts | None
    context: int
    best: Candidate | None
    in_four_bits: Candidate | None
    full: Candidate | None
    candidates: tuple[Candidate, ...]

    def shown(self, most_per_method: int) -> list[Candidate]:
        """The largest few of each method: adapters, then every parameter, then 4 bits; one of each size."""
        shown: list[Candidate] = []
        for parameters in ("lora", "full", "qlora"):
            sizes: dict[int, Candidate] = {}
            for candidate in self.candidates:
                if candidate.parameters == parameters:
                    sizes.setdefault(round(candidate.num_parameters / 1e8), candidate)
            shown += list(sizes.values())[:most_per_method]
        return shown

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "device": asdict(self.device) | {"usable_bytes": self.device.usable_bytes},
            "rows": asdict(self.rows) if self.rows else None,
            "context": self.context,
            "best": asdict(self.best) if self.best else None,
            "best_in_four_bits": asdict(self.in_four_bits) if self.in_four_bits else None,
            "best_full": asdict(self.full) if self.full else None,
            "candidates": [asdict(c) for c in self.candidates],
        }


def best_for(
    request: PlanRequest, *, task: str | None = None, most_hours: float | None = None, reporter: Reporter | None = None
) -> BestResult:
    """Try every model of the catalogue with every method.

    Args:
        request: Device and data; its model is not looked at.
        task: Only models whose strengths name it.
        most_hours: Only trainings that are done by then.

    Raises:
        ResourceError: Nothing fits.
    """
    device = find_hardware(request.gpu)
    rows = plan_rows(request, None, reporter or Silent())
    amount = plan_amount(request, rows)
    candidates: list[Candidate] = []
    context = 0
    for row in load_catalogue():
        if task is not None and not any(task.lower() in s for s in row.strengths):
            continue
        for parameters in METHODS:
            if parameters == "qlora" and device.kind == "mps":
                continue  # bitsandbytes does not run there
            job = _job(request, row, parameters, device, rows)
            context = max(context, job.context)
            candidate = _candidate(job, row, device, amount)
            if candidate is not None and (most_hours is None or (candidate.hours or 0.0) <= most_hours):
                candidates.append(candidate)
    if not candidates:
        raise ResourceError(
            f"No model of the catalogue can be trained on {device.name} with rows of {context:,} tokens"
            f"{'' if most_hours is None else f' in {most_hours:g} hours'}. Shorten the rows (--context) or name another card."
        )
    candidates.sort(key=lambda c: -c.num_parameters)
    largest = {c.parameters: c for c in reversed(candidates)}
    return BestResult(
        device=device,
        rows=rows,
        context=context,
        best=largest.get("lora"),
        in_four_bits=largest.get("qlora"),
        full=largest.get("full"),
        candidates=tuple(candidates),
    )


def _job(
    request: PlanRequest, row: CatalogueModel, parameters: ParametersKind, device: Hardware, rows: RowFacts | None
) -> Job:
    from luthier.plan.locate import FoundModel

    found = FoundModel(row.name, row.shape, row.source, None, row)
    return build_job(replace(request, model=row.name, parameters=parameters), found, device, rows)[0]


def _candidate(job: Job, row: CatalogueModel, device: Hardware, amount: Any) -> Candidate | None:
    engine = ours_on(device.kind)
    if job.shape.max_positions and job.context > job.shape.max_positions:
        return None
    overrides: Sequence[str] = ()
    if plan_memory(job, engine).total_bytes > device.usable_bytes:
        patch = first_patch(job, engine, device, device.usable_bytes)
        if patch is None or set(patch.names) & set(HARMFUL):
            return None
        job, overrides = patch.job, patch.overrides
    hours = training_time(job, engine, device, amount).seconds / 3600 if amount else None
    return Candidate(
        name=row.name,
        parameters=job.parameters,
        num_parameters=row.shape.parameters().total,
        overrides=tuple(overrides),
        needed_bytes=plan_memory(job, engine).total_bytes,
        hours=hours,
        strengths=row.strengths,
        licence=row.licence,
    )
