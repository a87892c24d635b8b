"""The checks while training: zero gradients, tensors that do not move, frozen weights that do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from luthier.accel.scorer import ScoringModel
from luthier.checks.training import FirstSteps, frozen_fingerprint, frozen_unchanged, loss_fell
from luthier.training.loop import Trainee
from luthier.training.step import StepResult, train_step


def one_step(trainee: Trainee, step: int = 0, rate: float = 1e-2) -> StepResult:
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


def steps(trainee: Trainee, first: FirstSteps, rate: float = 1e-2) -> None:
    for step in range(5):
        if not first.is_due():
            first.observe(one_step(trainee, step, rate))


def verdicts(first: FirstSteps) -> dict[str, bool]:
    assert first.is_due()
    return {check.name: check.passed for check in first.checks()}


def test_a_healthy_start(trainee: Trainee) -> None:
    first = FirstSteps(trainee.optimizer, total_steps=10)
    steps(trainee, first)
    assert verdicts(first) == {"training.gradient": True, "training.moved": True}


def test_one_step_moves_b_and_cannot_move_a(trainee: Trainee) -> None:
    first = FirstSteps(trainee.optimizer, total_steps=1)
    steps(trainee, first)
    assert verdicts(first)["training.moved"]


def test_a_tensor_without_a_gradient_is_named(trainee: Trainee) -> None:
    lost = next(name for name in trainee.optimizer.parameters if "lora_B" in name)
    first = FirstSteps(trainee.optimizer, total_steps=10)
    trainee.optimizer.parameters[lost].requires_grad_(False)
    steps(trainee, first)
    moved = first.checks()[1]
    assert not moved.passed
    total = len(trainee.optimizer.masters)  # while B stays zero, the A before it has no gradient either
    assert str(moved.measured) == f"{total - 2} of {total}, not {lost.replace('lora_B', 'lora_A')}"


def test_a_learning_rate_of_zero_moves_nothing(trainee: Trainee) -> None:
    first = FirstSteps(trainee.optimizer, total_steps=10)
    steps(trainee, first, rate=0.0)
    assert verdicts(first) == {"training.gradient": True, "training.moved": False}


@pytest.mark.parametrize("norm", [0.0, math.inf, math.nan])
def test_a_gradient_that_is_zero_or_never_finite_fails(trainee: Trainee, norm: float) -> None:
    first = FirstSteps(trainee.optimizer, total_steps=1)
    first.observe(replace(one_step(trainee), grad_norm=norm))
    assert verdicts(first)["training.gradient"] is False


def test_skipped_steps_do_not_count(trainee: Trainee) -> None:
    first = FirstSteps(trainee.optimizer, total_steps=1)
    first.observe(replace(one_step(trainee), grad_norm=math.inf, applied=False))
    assert not first.is_due()


def test_frozen_unchanged(trainee: Trainee, scoring: ScoringModel) -> None:
    before = frozen_fingerprint(scoring.model)
    steps(trainee, FirstSteps(trainee.optimizer, total_steps=3))
    assert frozen_unchanged(before, scoring.model).passed
    frozen = next(p for p in scoring.model.parameters() if not p.requires_grad)
    with torch.no_grad():
        frozen.view(-1)[3] = torch.nextafter(frozen.view(-1)[3], torch.tensor(math.inf))
    assert not frozen_unchanged(before, scoring.model).passed


def test_loss_fell() -> None:
    fell = loss_fell(2.0, 1.9)
    rose = loss_fell(2.0, 2.1)
    nan = loss_fell(2.0, math.nan)
    assert fell is not None
    assert fell.passed
    assert rose is not None
    assert not rose.passed
    assert nan is not None
    assert not nan.passed
    assert loss_fell(None, 1.0) is None
    assert loss_fell(1.0, None) is None
