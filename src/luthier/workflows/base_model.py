"""Which base model to tune: the one that was named, or the largest of the catalogue that card, hours, task and licence allow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from luthier.errors import ModelError, ResourceError
from luthier.models.builtin import cached
from luthier.plan.catalogue import filter_catalogue, find_in_catalogue
from luthier.plan.hardware import find_hardware
from luthier.plan.job import ParametersKind
from luthier.plan.locate import cached_snapshot
from luthier.reporter import Reporter
from luthier.units import format_count
from luthier.workflows.plan import PlanRequest, plan
from luthier.workflows.plan_best import HARMFUL, Candidate, best_for

SMALL_PARAMETERS = 4.5e9
SPARE_SHARE = 0.1
"""Of the device's memory, left free because a plan has an error band."""

LEAST_MICRO_BATCH_TOKENS = 256
"""A plan that fits only below this fits on paper: the device would mostly wait."""

ASSUMED_ROWS, ASSUMED_TOKENS = 1000, 512
"""Of data that nobody has shown yet."""


@dataclass(frozen=True)
class BaseModel:
    """A model to tune.

    Attributes:
        name: None where nothing fits.
        facts: What rules say of it.
        overrides: What a recipe needs so that it fits, by kind of parameters.
        notes: What a reader should know.
    """

    name: str | None
    facts: dict[str, Any]
    overrides: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"name": self.name, **{k: v for k, v in self.facts.items() if k != "model"}, "notes": list(self.notes)}


def given_model(name: str, request: PlanRequest, reporter: Reporter) -> BaseModel:
    """Plan all kinds of parameters for a model that was named.

    Raises:
        ModelError: The model is not known.
        ResourceError: The card is not known.
    """
    facts: dict[str, Any] = {"model_choice": "given", "model": name, "device": find_hardware(request.gpu).name}
    overrides: dict[str, tuple[str, ...]] = {}
    kinds: tuple[ParametersKind, ...] = ("lora", "full", "qlora")
    for parameters in kinds:
        planned = plan(replace(request, model=name, parameters=parameters), reporter)
        patch = planned.patch
        fits = planned.verdict != "no" or (patch is not None and not set(patch.names) & set(HARMFUL))
        facts[f"fits_{parameters}"] = fits
        if fits and planned.verdict == "no" and patch is not None:
            overrides[parameters] = tuple(patch.overrides)
    return BaseModel(name, facts, overrides, ())


def find_base_model(
    request: PlanRequest,
    *,
    task: str | None,
    licence: str | None,
    is_small: bool,
    most_hours: float,
    reporter: Reporter,
) -> BaseModel:
    """The largest of the catalogue that an adapter can be trained on there.

    Args:
        request: Card and data.
        task: Only models whose strengths name it; all where none does.
        licence: Only models whose licence contains the word.
        is_small: Only models that answer fast.
        most_hours: Only trainings that are done by then.

    Raises:
        ModelError: No model has such a licence.
        ResourceError: The card is not known.
    """
    device = find_hardware(request.gpu)
    notes: list[str] = []
    if task is not None:
        try:
            filter_catalogue(task=task)
        except ModelError:
            notes.append(f"No model of the catalogue names '{task}' among its strengths, so all were looked at.")
            task = None
    allowed = {row.name: row for row in filter_catalogue(task=task, licence=licence)}
    if request.num_rows is None and not request.data:
        request = replace(request, num_rows=ASSUMED_ROWS, mean_tokens=float(ASSUMED_TOKENS))
        notes.append(f"Hours and memory are for {ASSUMED_ROWS:,} rows of {ASSUMED_TOKENS} tokens: no data were given.")
    elif not request.data:
        request = replace(request, mean_tokens=float(ASSUMED_TOKENS))
    filters = _filters(task, licence, most_hours)
    facts: dict[str, Any] = {"device": device.name, "filters": filters}
    if is_small:
        facts["wants_small"] = True
    try:
        candidates = best_for(request, task=task, most_hours=most_hours, reporter=reporter).candidates
    except ResourceError as error:
        return BaseModel(None, {**facts, "model_choice": "none"}, {}, (*notes, str(error)))
    most_bytes = (1 - SPARE_SHARE) * device.usable_bytes
    fitting = [
        c
        for c in candidates
        if c.name in allowed
        and not (is_small and c.num_parameters > SMALL_PARAMETERS)
        and c.needed_bytes <= most_bytes
        and _micro_batch_tokens(c) >= LEAST_MICRO_BATCH_TOKENS
    ]
    best = next((c for c in fitting if c.parameters == "lora"), None)
    if best is None:
        return BaseModel(None, {**facts, "model_choice": "none"}, {}, tuple(notes))
    own = {c.parameters: c for c in fitting if c.name == best.name}
    facts |= {
        "model_choice": "largest",
        **_described(best),
        **{f"fits_{p}": p in own for p in ("lora", "full", "qlora")},
    }
    return BaseModel(best.name, facts, {p: c.overrides for p, c in own.items()}, tuple(notes))


def _micro_batch_tokens(candidate: Candidate) -> int:
    """What a plan had to make of it; as much as there is where it did not have to."""
    named = [o.partition("=")[2] for o in candidate.overrides if o.startswith("train.micro_batch_tokens=")]
    return int(named[-1]) if named else LEAST_MICRO_BATCH_TOKENS


def is_ready(name: str) -> bool:
    """Whether a model is on this machine."""
    row = find_in_catalogue(name)
    hub = row.hub if row is not None else name
    return Path(name).expanduser().is_dir() or name.lower() in cached() or cached_snapshot(hub) is not None


def _described(best: Candidate) -> dict[str, Any]:
    return {
        "model": best.name,
        "size": format_count(best.num_parameters),
        "strengths": ", ".join(best.strengths),
        "licence": best.licence,
        "hours": best.hours,
        "needed_bytes": best.needed_bytes,
    }


def _filters(task: str | None, licence: str | None, most_hours: float) -> str:
    words = [f"good at {task}"] if task else []
    words += [f"with a licence like {licence}"] if licence else []
    return f" ({', '.join([*words, f'trained within {most_hours:g} h'])})"
