"""One optimiser step: micro-batches in, one update out. Every objective and every number of ranks goes through here.

Sums over the whole step divide by the whole step's weights, so how rows are cut into micro-batches or spread over ranks
does not change the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from luthier.data.batch import Batch
from luthier.errors import LuthierError, ResourceError
from luthier.models.placement import Placement
from luthier.objectives.base import LossOutput, Objective, Prepared, StepObjective, Term
from luthier.training.loss_scale import LossScale
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimiser step measured.

    Attributes:
        loss: Sum of all terms, each divided by its unit's weight over the step.
        terms: The terms, and the objective's further metrics, divided likewise.
        grad_norm: Before clipping.
        applied: False where the gradient was not finite and the update was left out.
        num_tokens: Tokens that went through the model, over all ranks.
        num_row_tokens: Tokens of the rows as if each stood alone; more than `num_tokens` where prefixes are shared.
        num_targets: Supervised tokens among them.
    """

    loss: float
    terms: Mapping[str, float]
    grad_norm: float
    applied: bool
    num_tokens: int
    num_row_tokens: int
    num_targets: int


def total_weights(objective: Objective, batches: Sequence[Batch], ranks: Ranks) -> dict[str, float]:
    """Weight of each unit over the whole step and all ranks."""
    totals: dict[str, float] = {}
    for batch in batches:
        for unit, weight in objective.weights(batch).items():
            totals[unit] = totals.get(unit, 0.0) + weight
    return ranks.sum(totals)


@torch.no_grad()
def prepare_step(
    model: nn.Module, objective: Objective, batches: Sequence[Batch], *, placement: Placement, ranks: Ranks
) -> Prepared:
    """What the objective needs of the whole step, and the micro-batches to go on with; most need nothing."""
    if not isinstance(objective, StepObjective):
        return Prepared(objective, batches)
    with autocast(placement):
        return objective.prepare(model, batches, lambda sums: ranks.sum(dict(sums)), placement.device)


def normalised_loss(output: LossOutput, totals: Mapping[str, float]) -> Tensor:
    """Share of this micro-batch in the step's loss."""
    parts = [term.total / totals[term.unit] for term in output.terms.values()]
    return torch.stack(parts).sum()


def autocast(placement: Placement) -> AbstractContextManager[None]:
    """fp16 casts products on the fly; other formats are what the weights are stored in."""
    if not placement.autocast:
        return nullcontext()
    return torch.autocast(placement.device.type, dtype=torch.float16)  # type: ignore[return-value]


def _shares(output: LossOutput, totals: Mapping[str, float]) -> dict[str, Tensor]:
    """Share of this micro-batch in each term and metric, detached; a unit that weighs nothing in the step has none."""
    named: list[tuple[str, Term]] = [*output.terms.items(), *output.metrics.items()]
    return {name: term.total.detach() / totals[term.unit] for name, term in named if totals[term.unit] > 0}


def accumulate_gradients(
    model: nn.Module,
    objective: Objective,
    batches: Sequence[Batch],
    optimizer: MasterAdamW,
    *,
    placement: Placement,
    scale: float = 1.0,
    ranks: Ranks,
) -> dict[str, Tensor]:
    """Forward and backward over all micro-batches; gradients end up in the optimiser's masters.

    Returns:
        Detached terms and metrics of this rank, normalised; still on the device, so that nothing waits for it here.
    """
    objective, batches = prepare_step(model, objective, batches, placement=placement, ranks=ranks)
    totals = total_weights(objective, batches, ranks)
    if not any(weight > 0 for weight in totals.values()):
        raise LuthierError(f"A whole optimiser step has no weight ({totals}): none of its rows has a trained token.")
    logged: dict[str, Tensor] = {}
    for index, batch in enumerate(batches):
        # bf16 copies are synchronised and absorbed at each micro-batch; fp32 parameters accumulate and synchronise once.
        keep_local = index < len(batches) - 1 and not optimizer.has_copies
        with ranks.no_sync(model) if keep_local else nullcontext():
            with autocast(placement):
                output = objective.loss(model, batch.to(placement.device))
            loss = normalised_loss(output, totals)
            (loss * (scale * ranks.world_size)).backward()
        optimizer.absorb_gradients()
        for name, value in _shares(output, totals).items():
            logged[name] = logged[name] + value if name in logged else value
        logged["loss"] = logged.get("loss", torch.zeros((), device=placement.device)) + loss.detach()
    return logged


def train_step(
    model: nn.Module,
    objective: Objective,
    batches: Sequence[Batch],
    optimizer: MasterAdamW,
    *,
    learning_rate: float,
    loss_scale: LossScale,
    placement: Placement,
    ranks: Ranks,
) -> StepResult:
    """One update from all micro-batches of this rank."""
    logged = accumulate_gradients(
        model, objective, batches, optimizer, placement=placement, scale=loss_scale.scale, ranks=ranks
    )
    try:
        update = optimizer.step(learning_rate, inverse_scale=1.0 / loss_scale.scale)
    except torch.OutOfMemoryError as error:  # not to be tried again: some weights may have been updated
        raise ResourceError(
            f"Out of memory while the weights were updated: {str(error).splitlines()[0]} The last checkpoint is intact. Take "
            "train.optimizer=adamw-8bit, a lower adapter.rank, or a larger device."
        ) from error
    loss_scale.update(update.applied)
    real = [batch for batch in batches if any(row >= 0 for row in batch.rows)]
    counts = {
        "#tokens": float(sum(b.num_tokens for b in real)),
        "#row_tokens": float(sum(b.num_row_tokens for b in real)),
        "#targets": float(sum(b.num_targets for b in real)),
    }
    values = ranks.sum({**{name: float(value) for name, value in logged.items()}, **counts})
    num_tokens, num_row_tokens, num_targets = (int(values.pop(f"#{n}")) for n in ("tokens", "row_tokens", "targets"))
    loss = values.pop("loss")
    return StepResult(loss, values, update.grad_norm, update.applied, num_tokens, num_row_tokens, num_targets)


@dataclass(frozen=True, slots=True)
class Validation:
    """What a validation measured.

    Attributes:
        loss: Sum of all terms, each divided by its unit's weight over all rows.
        terms: The terms, and the objective's further metrics, divided likewise.
    """

    loss: float
    terms: Mapping[str, float]


@torch.no_grad()
def validate(
    model: nn.Module, objective: Objective, batches: Sequence[Batch], *, placement: Placement, ranks: Ranks
) -> Validation:
    """The objective's loss and metrics over all micro-batches, nothing stored."""
    was_training = model.training
    model.eval()
    objective, batches = prepare_step(model, objective, batches, placement=placement, ranks=ranks)
    totals = total_weights(objective, batches, ranks)
    sums: dict[str, Tensor] = {"loss": torch.zeros((), dtype=torch.float64)}
    for batch in batches:
        with autocast(placement):
            output = objective.loss(model, batch.to(placement.device))
        for name, value in {"loss": normalised_loss(output, totals), **_shares(output, totals)}.items():
            sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + value.double().cpu()
    model.train(was_training)
    values = ranks.sum({name: float(value) for name, value in sums.items()})
    return Validation(values.pop("loss"), values)


def validation_record(step: int, found: Validation, num_tokens: int) -> dict[str, Any]:
    """The line for metrics.jsonl; terms only where there is more than the loss itself."""
    record: dict[str, Any] = {"kind": "validation", "step": step, "loss": found.loss, "tokens": num_tokens}
    return record | ({"terms": dict(found.terms)} if len(found.terms) > 1 else {})


def validation_loss(
    model: nn.Module, objective: Objective, batches: Sequence[Batch], *, placement: Placement, ranks: Ranks
) -> float:
    """As `validate`: the loss alone."""
    return validate(model, objective, batches, placement=placement, ranks=ranks).loss
