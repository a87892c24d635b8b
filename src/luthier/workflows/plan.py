"""`luthier plan`: memory, fit, time and money of a training before anything runs. Imports no torch and reads no weights.

A request comes from a recipe or from a few words; both become one `Job`, and everything else follows from `luthier.plan`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from luthier.config.adapter import LoraSection
from luthier.config.load import LoadedRecipe, resolve
from luthier.config.objective import DpoSection, KtoSection
from luthier.config.recipe import Recipe
from luthier.data.cache import cache_folder
from luthier.errors import InputError
from luthier.plan.adapted import adapted_names
from luthier.plan.calibration import Calibration, choose_calibration, load_calibrations
from luthier.plan.cost import Cost, Offer, cost_of, load_offers, merge_offers, read_offers
from luthier.plan.engine import EngineProfile, ours_on
from luthier.plan.fit import Fit, fit_all
from luthier.plan.hardware import Hardware, find_hardware
from luthier.plan.job import BUDGET_TOKENS, Compute, Job, Objective, Optimizer, ParametersKind
from luthier.plan.locate import FoundModel, locate
from luthier.plan.memory import MOMENTS, MemoryPlan, plan_memory
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.remedies import Patch, Saving, first_patch, savings
from luthier.plan.rungs import Rung, choose, ladder
from luthier.plan.time import Amount, Seconds, training_time
from luthier.reporter import Reporter, Silent
from luthier.units import GIB
from luthier.workflows.plan_data import RowFacts, row_facts

DEFAULT_CONTEXT, DEFAULT_BATCH_ROWS, DEFAULT_EPOCHS = 2048, 16, 3.0


@dataclass(frozen=True)
class PlanRequest:
    """What is to be planned; None leaves it to the data, the device or the recipe's defaults."""

    model: str
    parameters: ParametersKind = "lora"
    objective: Objective = "sft"
    gpu: str = "here"
    num_cards: int = 1
    context: int | None = None
    micro_batch_tokens: int | None = None
    batch_rows: int = DEFAULT_BATCH_ROWS
    rank: int = 16
    targets: tuple[str, ...] | str = "all-linear"
    optimizer: Optimizer = "adamw"
    compute: Compute | None = None
    attention: str = "auto"
    checkpointing: bool | Literal["auto"] = "auto"
    data: tuple[str, ...] = ()
    format: str = "auto"
    columns: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    num_rows: int | None = None
    mean_tokens: float | None = None
    validation_fraction: float = 0.0
    epochs: float = DEFAULT_EPOCHS
    max_steps: int | None = None
    generation_rows: int = 0
    new_tokens: int = 0
    prices: Path | None = None
    recipe_path: Path | None = None


@dataclass(frozen=True)
class PlanResult:
    """A plan.

    Attributes:
        rows: What is known of the data; None without data.
        fits: On the usual sizes of cards.
        usable_bytes: What the device has to give.
        verdict: Of the device: fits, tight or no.
        savings: What each remedy would bring.
        patch: The first set that fits, where the plan does not; None where it does, or nothing helps.
        amount: How much is learnt; None where the number of rows is not known.
        costs: Cheapest first.
        notes: What a reader should know.
    """

    request: PlanRequest
    model: FoundModel
    device: Hardware
    job: Job
    rows: RowFacts | None
    memory: MemoryPlan
    fits: tuple[Fit, ...]
    usable_bytes: float
    verdict: str
    savings: tuple[Saving, ...]
    patch: Patch | None
    amount: Amount | None
    time: Seconds | None
    calibration: Calibration | None
    costs: tuple[Cost, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        groups = self.model.shape.parameters()
        return {
            "model": {
                "name": self.model.name,
                "source": self.model.source,
                "parameters": groups.total,
                "by_group": groups._asdict(),
                "trained_parameters": self.job.trained_parameters,
            },
            "job": {k: v for k, v in asdict(self.job).items() if k not in ("shape", "policy")}
            | {"policy": str(self.job.kept)},
            "device": asdict(self.device) | {"usable_bytes": self.usable_bytes},
            "rows": asdict(self.rows) if self.rows else None,
            "memory": {
                "total_bytes": self.memory.total_bytes,
                "low_bytes": self.memory.low_bytes,
                "high_bytes": self.memory.high_bytes,
                "peak": MOMENTS[self.memory.moment],
                "terms": [t._asdict() for t in self.memory.terms],
                "moments": {MOMENTS[m]: b for m, b in self.memory.moments.items()},
            },
            "fits": [asdict(f) | {"words": f.budget.words} for f in self.fits],
            "verdict": self.verdict,
            "remedies": [asdict(s) for s in self.savings],
            "patch": _patch_json(self.patch),
            "amount": asdict(self.amount) | {"steps": self.amount.steps} if self.amount else None,
            "time": self.time._asdict() if self.time else None,
            "costs": [_cost_json(c) for c in self.costs],
            "notes": list(self.notes),
        }


def _patch_json(patch: Patch | None) -> dict[str, Any] | None:
    return None if patch is None else {k: v for k, v in vars(patch).items() if k != "job"}


def _cost_json(cost: Cost) -> dict[str, Any]:
    offer = {**asdict(cost.offer), "as_of": cost.offer.as_of.isoformat()}
    return {**asdict(cost), "offer": offer}


def objective_to_plan(recipe: Recipe) -> Objective:
    """What the recipe's objective costs beside its own passes: a live reference is a second one, all others are nothing more."""
    section = recipe.objective
    return "dpo" if isinstance(section, DpoSection | KtoSection) and section.reference == "live" else "sft"


def request_from_recipe(loaded: LoadedRecipe, **options: Any) -> PlanRequest:
    """A recipe's plan; `options` (gpu, num_cards, prices) come from elsewhere."""
    recipe = resolve(loaded)
    lora = recipe.adapter if isinstance(recipe.adapter, LoraSection) else None
    return PlanRequest(
        model=recipe.model.name,
        parameters="full" if recipe.is_full else "qlora" if recipe.precision.base == "nf4" else "lora",
        objective=objective_to_plan(recipe),
        context=recipe.data.max_length,
        micro_batch_tokens=recipe.train.micro_batch_tokens,
        batch_rows=recipe.train.batch_size,
        rank=lora.rank if lora else 16,
        targets=lora.target_modules if lora else "all-linear",
        optimizer=recipe.train.optimizer,
        compute=None if recipe.precision.compute == "auto" else recipe.precision.compute,
        attention=recipe.model.attention,
        checkpointing=recipe.train.gradient_checkpointing,
        data=recipe.data.train,
        format=recipe.data.format,
        columns=tuple(recipe.data.columns.items()),
        limit=recipe.data.limit,
        validation_fraction=0.0 if recipe.data.validation else recipe.data.validation_fraction,
        epochs=recipe.train.epochs,
        max_steps=recipe.train.max_steps,
        generation_rows=generation_rows(recipe),
        new_tokens=recipe.evaluate.max_new_tokens,
        recipe_path=loaded.path,
        **options,
    )


def generation_rows(recipe: Recipe) -> int:
    """Answers that are generated at once while a run lasts."""
    evaluate = recipe.evaluate
    return evaluate.batch_size if evaluate.tasks else min(evaluate.batch_size, evaluate.stop_test_rows)


def plan(request: PlanRequest, reporter: Reporter | None = None) -> PlanResult:
    """Plan a training.

    Raises:
        ModelError: The model is not known, or its numbers cannot be read.
        ResourceError: The device is not known.
        DataError: The data cannot be read.
    """
    reporter = reporter or Silent()
    found = locate(request.model, cache_folder() / "models")
    device = find_hardware(request.gpu)
    rows = plan_rows(request, found, reporter)
    job, notes = build_job(request, found, device, rows)
    engine = ours_on(device.kind)
    memory = plan_memory(job, engine)
    usable = device.usable_bytes
    verdict = "fits" if memory.high_bytes <= usable else "tight" if memory.total_bytes <= usable else "no"
    if verdict != "fits":
        notes = (*notes, *_cut_by_training(request, job, engine, usable, offloads=device.kind == "cuda"))
    patch = first_patch(job, engine, device, usable)
    amount = plan_amount(request, rows)
    calibration = choose_calibration(
        load_calibrations(cache_folder() / "calibration"),
        device.name,
        job.compute,
        job.parameters,
        found.shape.parameters().total,
    )
    time = None
    if amount is not None:
        runs = patch.job if patch else job
        time = training_time(runs, engine, device, amount, num_cards=request.num_cards, calibration=calibration)
    return PlanResult(
        request=request,
        model=found,
        device=device,
        job=job,
        rows=rows,
        memory=memory,
        fits=fit_all(job, ours_on("cuda")),
        usable_bytes=usable,
        verdict=verdict,
        savings=savings(job, engine, device),
        patch=patch,
        amount=amount,
        time=time,
        calibration=calibration,
        costs=_costs(request, job, amount),
        notes=(*found.warnings, *found.shape.notes, *notes),
    )


def build_job(
    request: PlanRequest, found: FoundModel, device: Hardware, rows: RowFacts | None
) -> tuple[Job, tuple[str, ...]]:
    """The job, and what a reader should know about how it came to be.

    Raises:
        InputError: The device cannot compute what was asked for, or no layer has the name.
    """
    shape, notes = found.shape, list[str]()
    compute = request.compute or device.compute
    if compute == "bf16" and not device.bf16:
        raise InputError(f"{device.name} does not compute bf16. Use fp16 (or leave the type open).")
    if device.kind == "cuda" and not device.bf16:
        notes.append(f"{device.name} has no bf16: fp16 with loss scaling, and attention runs document by document.")
    targets: Any = adapted_names(request.targets, shape)
    if targets != "all-linear":
        known = [x.name for x in shape.linears()]
        unknown = [name for name in targets if name not in known]
        if unknown:
            raise InputError(f"The model has no linear layer {', '.join(unknown)}. It has: {', '.join(known)}.")
    context = request.context or (
        rows.longest_tokens if rows else min(DEFAULT_CONTEXT, shape.max_positions or DEFAULT_CONTEXT)
    )
    if shape.max_positions and context > shape.max_positions:
        notes.append(f"Rows of {context:,} tokens are longer than the model was built for ({shape.max_positions:,}).")
    mean = min(float(context), request.mean_tokens or (rows.mean_tokens if rows else float(context)))
    budget = max(request.micro_batch_tokens or BUDGET_TOKENS[device.kind], context)
    step_tokens = request.batch_rows * mean / request.num_cards
    num_micro_batches = max(1, math.ceil(step_tokens / budget))
    tokens = max(context, min(budget, math.ceil(step_tokens)))
    eager = shape.softcap or request.attention == "eager"
    if shape.softcap:
        notes.append("This model soft-caps its scores, so a matrix of them exists for each document.")
    job = Job(
        shape=shape,
        parameters=request.parameters,
        objective=request.objective,
        micro_batch_tokens=tokens,
        context=context,
        num_micro_batches=num_micro_batches,
        supervised_share=rows.supervised_share if rows else 1.0,
        mean_length=mean,
        rank=request.rank,
        targets=targets,
        optimizer=request.optimizer,
        compute=compute,
        attention="eager" if eager else "fused",
        policy=CheckpointPolicy.recompute_all(shape.num_layers) if request.checkpointing is True else None,
        generation_rows=request.generation_rows,
        generation_tokens=min(context, shape.max_positions or context) + request.new_tokens
        if request.generation_rows
        else 0,
    )
    if request.parameters == "qlora" and device.kind == "mps":
        notes.append(f"bitsandbytes does not run on {device.name}: this is a plan, not a recipe.")
    if request.objective in ("reward", "ppo"):
        notes.append(f"Luthier's trainer has no {request.objective} yet: this is a plan, not yet a recipe.")
    return job, tuple(notes)


def _cut_by_training(
    request: PlanRequest, job: Job, engine: EngineProfile, usable_bytes: float, *, offloads: bool
) -> list[str]:
    """What `luthier train` does by itself where steps as planned do not safely fit; nothing where that is not enough."""
    rungs = ladder(
        Rung(job.micro_batch_tokens, job.kept),
        job.context,
        tokens_fixed=request.micro_batch_tokens is not None,
        policy_fixed=request.checkpointing != "auto",
        offloads=offloads,
    )
    choice = choose(job, rungs, engine, usable_bytes)
    if not choice.index or choice.plan.total_bytes > usable_bytes:
        return []
    need = gib(choice.plan.total_bytes)
    return [f"`luthier train` cuts steps to fit by itself: {rungs[choice.index]} ({need:.1f} GiB planned)."]


def plan_rows(request: PlanRequest, found: FoundModel | None, reporter: Reporter) -> RowFacts | None:
    """What the request's data say; None where it names none."""
    if not request.data:
        return None
    tokenizer = found.folder / "tokenizer.json" if found is not None and found.folder is not None else None
    return row_facts(
        request.data,
        tokenizer,
        format=request.format,
        columns=dict(request.columns),
        limit=request.limit,
        reporter=reporter,
    )


def plan_amount(request: PlanRequest, rows: RowFacts | None) -> Amount | None:
    """How much is learnt; None where the number of rows is not known."""
    num_rows = request.num_rows
    if num_rows is None and rows is not None:
        num_rows = max(1, round(rows.num_rows * (1 - request.validation_fraction)))
    mean = request.mean_tokens or (rows.mean_tokens if rows else None)
    if num_rows is None or (mean is None and request.context is None):
        return None
    epochs = request.epochs
    if request.max_steps is not None:
        epochs = request.max_steps * request.batch_rows / num_rows
    return Amount(num_rows, mean or float(request.context or 0), epochs, request.batch_rows)


def _costs(request: PlanRequest, job: Job, amount: Amount | None) -> tuple[Cost, ...]:
    """What the training costs on each card of the price table that it fits on, cheapest first."""
    if amount is None:
        return ()
    offers: Sequence[Offer] = load_offers()
    if request.prices is not None:
        offers = merge_offers(offers, read_offers(request.prices))
    costs: list[Cost] = []
    for offer in offers:
        device = find_hardware(offer.gpu)
        if request.gpu != "here" and device.name != find_hardware(request.gpu).name:
            continue
        engine = ours_on(device.kind)
        here = replace(job, compute=device.compute if job.compute == "bf16" else job.compute)
        if plan_memory(here, engine).total_bytes > device.usable_bytes:
            patched = first_patch(here, engine, device, device.usable_bytes)
            if patched is None:
                continue
            here = patched.job
        cards = request.num_cards if request.num_cards in offer.counts else 1
        seconds = training_time(here, engine, device, amount, num_cards=cards).seconds
        costs.append(cost_of(offer, seconds, cards, amount.steps))
    return tuple(sorted(costs, key=lambda c: (c.usd, c.hours)))


def gib(num_bytes: float) -> float:
    """Bytes as GiB."""
    return num_bytes / GIB
