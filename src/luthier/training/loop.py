"""The training loop for offline methods: one readable function over steps, the same for every objective.

Everything that decides a step (rows, learning rate, weights) is a pure function of the step number; the state is the
optimiser's tensors and the random numbers, which checkpoints hold. Nothing here prints or writes reports: `Observer` is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from luthier.errors import LuthierError
from luthier.models.placement import Placement
from luthier.objectives.base import Objective
from luthier.training.checkpoint import CheckpointStore, Position
from luthier.training.early_stopping import Judgement, is_exhausted
from luthier.training.feed import Feed
from luthier.training.interrupt import StopRequest
from luthier.training.loss_scale import LossScale
from luthier.training.memory import peak_memory_bytes
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks
from luthier.training.step import StepResult, Validation, train_step, validate, validation_record
from luthier.training.step_down import with_smaller_steps

MOST_SKIPPED_STEPS = 25
"""fp16 skips a few steps while its loss scale settles (16 halvings lead from 2^16 to 1); more than that is a sick run."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What happens when, in optimiser steps.

    Attributes:
        learning_rate: Of each step, from 0; made for `total_steps`, whether or not the training stops before.
        patience: Validations without improvement after which the training stops; None: never.
    """

    total_steps: int
    evaluate_every: int
    checkpoint_every: int
    learning_rate: Callable[[int], float]
    patience: int | None = None

    def validates_after(self, step: int) -> bool:
        """After the last step, and after every `evaluate_every` steps that lie at least half as many steps before it."""
        left = self.total_steps - step
        return left == 0 or (step % self.evaluate_every == 0 and 2 * left >= self.evaluate_every)


@dataclass(frozen=True)
class Trainee:
    """The parts of a training that the loop brings together.

    Attributes:
        model: What the objective calls: the scoring model, wrapped for several ranks.
        fingerprints: What must not change between a checkpoint and its resume.
        step_down: Told that memory ran out, and in which words; cuts steps smaller and answers whether it could. None: it cannot.
    """

    model: nn.Module
    objective: Objective
    optimizer: MasterAdamW
    feed: Feed
    placement: Placement
    ranks: Ranks
    loss_scale: LossScale
    fingerprints: Mapping[str, str]
    step_down: Callable[[str], bool] | None = None


class Observer(Protocol):
    """Told of everything worth logging."""

    def after_step(self, step: int, result: StepResult, record: Mapping[str, Any]) -> None:
        """`step` counts from 1; `record` is the line for metrics.jsonl."""
        ...

    def after_validation(self, step: int, loss: float, record: Mapping[str, Any]) -> Judgement:
        """A validation was made after `step` steps; what is to follow from it. With several ranks the first one's word counts."""
        ...


@dataclass(frozen=True, slots=True)
class LoopResult:
    """How the loop ended.

    Attributes:
        step: Optimiser steps done in all.
        seconds: Training time in all, resumed parts included.
        stopped_by: Signal number where a signal ended it early.
        validation_losses: All that were measured, in order.
        criteria: What was decisive at each of them; see `early_stopping`.
        wanted_stop: Whether a validation asked to end it.
    """

    step: int
    seconds: float
    stopped_by: int | None
    validation_losses: tuple[float, ...]
    criteria: tuple[float, ...] = ()
    wanted_stop: bool = False


def run_loop(
    trainee: Trainee,
    rhythm: Rhythm,
    store: CheckpointStore,
    observer: Observer,
    stop: StopRequest,
    *,
    start_step: int = 0,
    start_seconds: float = 0.0,
    start_losses: Sequence[float] = (),
    start_criteria: Sequence[float] = (),
    wants_stop: bool = False,
) -> LoopResult:
    """Train from `start_step` to the end, until a signal asks to stop, or until patience is exhausted; ends with a checkpoint.

    Args:
        start_losses: Validation losses up to `start_step`.
        start_criteria: What was decisive at these validations.
        wants_stop: Whether the last of them asked to end the training.
    """
    began = time.perf_counter() - start_seconds
    trainee.model.train()
    step, skipped, signal_number, losses, criteria = start_step, 0, None, list(start_losses), list(start_criteria)
    while (
        step < rhythm.total_steps
        and signal_number is None
        and not wants_stop
        and not is_exhausted(criteria, rhythm.patience)
    ):
        step_began = time.perf_counter()
        rate = rhythm.learning_rate(step)
        result = with_smaller_steps(trainee, partial(_train_step, trainee, step, rate))
        step += 1
        skipped = 0 if result.applied else skipped + 1
        signal_number = trainee.ranks.agree_on_signal(stop.signal_number)
        seconds = time.perf_counter() - step_began
        observer.after_step(step, result, _step_record(trainee, step, result, rate, seconds))
        is_last = step == rhythm.total_steps
        loss = None
        if len(trainee.feed.validation) and rhythm.validates_after(step):
            loss, criterion, wants_stop = _validate(trainee, step, observer)
            losses.append(loss)
            criteria.append(criterion)
        if loss is not None or step % rhythm.checkpoint_every == 0 or is_last or signal_number is not None:
            _save(trainee, store, step, time.perf_counter() - began, losses, criteria, loss, wants_stop)
        if skipped >= MOST_SKIPPED_STEPS:
            raise LuthierError(
                f"The gradient was not finite in {skipped} steps in a row (up to step {step}), so nothing is being learnt. "
                "Try a lower train.learning_rate or precision.compute=fp32. The last checkpoint is intact."
            )
    seconds = time.perf_counter() - began
    return LoopResult(step, seconds, signal_number, tuple(losses), tuple(criteria), wants_stop)


def _train_step(trainee: Trainee, step: int, rate: float) -> StepResult:
    return train_step(
        trainee.model,
        trainee.objective,
        trainee.feed.step_batches(step),
        trainee.optimizer,
        learning_rate=rate,
        loss_scale=trainee.loss_scale,
        placement=trainee.placement,
        ranks=trainee.ranks,
    )


def _step_record(trainee: Trainee, step: int, result: StepResult, rate: float, seconds: float) -> dict[str, Any]:
    steps_per_epoch = max(1, -(-len(trainee.feed.train) // trainee.feed.batch_size))
    record: dict[str, Any] = {
        "kind": "train",
        "step": step,
        "epoch": round(step / steps_per_epoch, 4),
        "loss": result.loss,
        "learning_rate": rate,
        "grad_norm": result.grad_norm,
        "tokens": result.num_tokens,
        "supervised_tokens": result.num_targets,
        "row_tokens": result.num_row_tokens,
        "tokens_per_second": result.num_tokens / seconds,
        "row_tokens_per_second": result.num_row_tokens / seconds,
        "supervised_tokens_per_second": result.num_targets / seconds,
        "memory_bytes": peak_memory_bytes(trainee.placement.device),
        "seconds": seconds,
    }
    if len(result.terms) > 1:
        record["terms"] = dict(result.terms)
    if trainee.loss_scale.dynamic:
        record["loss_scale"] = trainee.loss_scale.scale
    if not result.applied:
        record["skipped"] = "the gradient was not finite"
    return record


def _validate(trainee: Trainee, step: int, observer: Observer) -> tuple[float, float, bool]:
    """Loss, what is decisive, and whether to stop; the same on all ranks."""
    began = time.perf_counter()

    def measure() -> tuple[Validation, int]:
        batches = trainee.feed.validation_batches()
        found = validate(trainee.model, trainee.objective, batches, placement=trainee.placement, ranks=trainee.ranks)
        return found, sum(b.num_tokens for b in batches)

    found, tokens = with_smaller_steps(trainee, measure)
    loss, seconds = found.loss, time.perf_counter() - began
    judgement = observer.after_validation(step, loss, {**validation_record(step, found, tokens), "seconds": seconds})
    criterion = loss if judgement.criterion is None else judgement.criterion
    told = {"criterion": criterion, "stop": float(judgement.wants_stop)}
    agreed = trainee.ranks.sum(told if trainee.ranks.is_main else dict.fromkeys(told, 0.0))
    return loss, agreed["criterion"], bool(agreed["stop"])


def _save(
    trainee: Trainee,
    store: CheckpointStore,
    step: int,
    seconds: float,
    losses: Sequence[float],
    criteria: Sequence[float],
    loss: float | None,
    wants_stop: bool,
) -> None:
    if trainee.ranks.is_main:
        position = Position(
            step=step,
            loss_scale=trainee.loss_scale.scale,
            loss_scale_good_steps=trainee.loss_scale.good_steps,
            num_threads=torch.get_num_threads(),
            fingerprints=dict(trainee.fingerprints),
            seconds=seconds,
            validation_losses=tuple(losses),
            criteria=tuple(criteria),
            wants_stop=wants_stop,
        )
        store.save(trainee.optimizer, position, loss, None if loss is None else criteria[-1])
    trainee.ranks.barrier()
