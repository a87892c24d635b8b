"""Losses of pairs against their formulas in plain arithmetic, and what happens at the ends of the number line."""

from __future__ import annotations

import math

import pytest
import torch

from luthier.objectives.dpo_losses import LOSSES, LogRatios
from luthier.objectives.orpo import log_odds

CHOSEN, REJECTED, LONG, SHORT = 0.8, -1.5, 7.0, 4.0
BETA, SMOOTHING = 0.3, 0.2


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


D = BETA * (CHOSEN - REJECTED)
MEAN = CHOSEN / LONG - REJECTED / SHORT
BY_HAND = {
    "sigmoid": -math.log(sigma(D)),
    "cdpo": -0.8 * math.log(sigma(D)) - 0.2 * math.log(sigma(-D)),
    "robust": (-0.8 * math.log(sigma(D)) + 0.2 * math.log(sigma(-D))) / 0.6,
    "ipo": (MEAN - 1 / (2 * BETA)) ** 2,
    "hinge": max(0.0, 1 - D),
    "apo_zero": 1 - sigma(BETA * CHOSEN) + sigma(BETA * REJECTED),
    "apo_down": sigma(BETA * CHOSEN) + 1 - sigma(D),
    "sigmoid_norm": -math.log(sigma(BETA * MEAN)),
}


def ratios(chosen: float, rejected: float) -> LogRatios:
    return LogRatios(*(torch.tensor([value]) for value in (chosen, rejected, LONG, SHORT)))


def test_every_loss_has_its_formula_here() -> None:
    assert BY_HAND.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_loss(name: str) -> None:
    value = LOSSES[name](ratios(CHOSEN, REJECTED), BETA, SMOOTHING)
    assert value.item() == pytest.approx(BY_HAND[name], rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_gradients_stay_finite_far_out(name: str) -> None:
    for far in (-3000.0, 3000.0):
        chosen = torch.tensor([far], requires_grad=True)
        value = LOSSES[name](LogRatios(chosen, -chosen, torch.tensor([1.0]), torch.tensor([1.0])), BETA, SMOOTHING)
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert torch.isfinite(chosen.grad).all()


def test_robust_is_unbiased_under_its_noise() -> None:
    """The mean over flipped labels is the loss of the true ones (Chowdhury et al. 2024, lemma 3.1)."""
    true, flipped = ratios(CHOSEN, REJECTED), ratios(REJECTED, CHOSEN)
    mean = 0.8 * LOSSES["robust"](true, BETA, SMOOTHING) + 0.2 * LOSSES["robust"](flipped, BETA, SMOOTHING)
    assert mean.item() == pytest.approx(LOSSES["sigmoid"](true, BETA, 0.0).item(), rel=1e-6)


def test_log_odds_are_exact_near_zero_and_near_one() -> None:
    for logprob in (-30.0, -2.0, -0.69, -0.7, -1e-3, -1e-6):
        exact = logprob - math.log(-math.expm1(logprob))
        value = torch.tensor([logprob], requires_grad=True)
        found = log_odds(value)
        assert found.item() == pytest.approx(exact, rel=1e-5)
        found.sum().backward()
        assert value.grad is not None
        assert value.grad.item() == pytest.approx(1 / -math.expm1(logprob), rel=1e-3)
