"""Constructed curves: each fault is found where it begins, and healthy trainings of many shapes are left in peace."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from luthier.training.diagnosis import Diagnosis, diagnose
from luthier.training.schedule import learning_rate

Curve = Callable[[float], float]
"""Loss (or norm) at a share of the training, 0 to 1."""


def records(
    loss: Curve,
    *,
    total: int = 200,
    noise: float = 0.1,
    validation: Curve | None = None,
    num_validations: int = 6,
    norm: Curve = lambda _: 0.5,
    schedule: Any = "cosine",
    skipped: Callable[[int], bool] = lambda _: False,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """metrics.jsonl of a training with these curves; `noise` is relative, from batch to batch."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    if validation is not None:
        rows.append({"kind": "validation", "step": 0, "loss": validation(0)})
    for step in range(1, total + 1):
        rate = learning_rate(step - 1, peak=1e-3, total_steps=total, warmup_steps=total // 20, schedule=schedule)
        row = {"kind": "train", "step": step, "learning_rate": rate}
        row |= {"loss": loss(step / total) * math.exp(noise * rng.normal())}
        row |= {"grad_norm": norm(step / total) * math.exp(0.3 * rng.normal())}
        if skipped(step):
            row |= {"loss": math.nan, "grad_norm": math.inf, "skipped": "the gradient was not finite"}
        rows.append(row)
        if validation is not None and (step % (total // num_validations) == 0 or step == total):
            rows.append({"kind": "validation", "step": step, "loss": validation(step / total)})
    return rows


def found(rows: list[dict[str, Any]], max_grad_norm: float = 1.0) -> dict[str, Diagnosis]:
    total = max(row["step"] for row in rows)
    return {d.kind: d for d in diagnose(rows, total_steps=total, max_grad_norm=max_grad_norm)}


def falling(low: float, high: float, speed: float) -> Curve:
    return lambda share: low + (high - low) * math.exp(-speed * share)


HEALTHY: dict[str, dict[str, Any]] = {
    "form and content learnt to the ground": {
        "loss": falling(0.02, 1.8, 8), "validation": falling(0.03, 1.7, 8), "noise": 0.35, "total": 61,
    },
    "quick at first, slow for long": {"loss": lambda s: 1 + 0.5 * (1 + 20 * s) ** -0.7, "noise": 0.1},
    "the same, with validation": {
        "loss": lambda s: 1 + 0.5 * (1 + 20 * s) ** -0.7, "validation": lambda s: 1.05 + 0.5 * (1 + 20 * s) ** -0.7,
    },
    "a constant rate": {"loss": lambda s: 1 + 0.5 * (1 + 20 * s) ** -0.7, "schedule": "constant", "total": 600},
    "validation flattens and wavers at the end": {
        "loss": falling(0.3, 1.5, 4), "validation": lambda s: 0.9 + 0.6 * math.exp(-8 * s) + 0.01 * (s == 1),
    },
    "the gradient norm doubles as B leaves zero": {
        "loss": falling(0.5, 2, 6), "norm": lambda s: 0.2 + 0.4 * min(1, 10 * s),
    },
    "clipped while it warms up": {"loss": falling(0.5, 2, 6), "norm": lambda s: 0.4 + 4 * math.exp(-30 * s)},
    "fp16 finds its loss scale": {"loss": falling(0.5, 2, 6), "skipped": lambda step: step <= 12 or step == 150},
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_trainings_are_left_in_peace_at_every_moment(name: str) -> None:
    for seed in range(4):
        rows = records(**HEALTHY[name], seed=seed)
        total = rows[-1]["step"]
        for stop in range(0, len(rows) + 1, max(1, len(rows) // 12)):
            assert diagnose(rows[:stop], total_steps=total, max_grad_norm=1.0) == []
        assert found(rows) == {}


def test_few_points_say_nothing() -> None:
    assert diagnose([], total_steps=10) == []
    assert found(records(lambda s: 1 + 5 * s, total=12, norm=lambda s: 50 * s)) == {}


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_overfitting_begins_at_the_best_validation(noise: float) -> None:
    rows = records(
        falling(0.3, 1.8, 4),
        validation=lambda s: 1 + 0.6 * math.exp(-12 * s) + 0.5 * max(0, s - 0.4),
        num_validations=10,
        noise=noise,
    )
    diagnosis = found(rows)["overfitting"]
    assert diagnosis.since_step == 80
    assert "from 1 (step 80) to 1.3 (step 200)" in diagnosis.message
    assert "train.early_stopping_patience" in diagnosis.advice


def test_a_validation_loss_that_rises_with_the_training_loss_is_no_overfitting() -> None:
    rows = records(lambda s: 1.0 + 2 * max(0, s - 0.4), validation=lambda s: 1.1 + 2 * abs(s - 0.4), num_validations=10)
    assert set(found(rows)) == {"learning_rate_too_high"}


def test_one_higher_validation_may_be_chance() -> None:
    rows = records(falling(0.3, 1.8, 4), validation=lambda s: 1.2 - 0.2 * s + 0.3 * (s == 1), num_validations=5)
    assert "overfitting" not in found(rows)


@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_a_diverging_loss(noise: float) -> None:
    rows = records(lambda s: 0.9 + math.exp(-10 * s) + 4 * max(0, s - 0.5), noise=noise)
    diagnosis = found(rows)["learning_rate_too_high"]
    assert 100 <= diagnosis.since_step <= 140
    assert "rises" in diagnosis.message
    assert "Lower train.learning_rate" in diagnosis.advice


def test_a_loss_that_rises_from_the_start() -> None:
    assert found(records(lambda s: 2 + 3 * min(1, 5 * s)))["learning_rate_too_high"].since_step <= 50


def test_an_exploding_gradient() -> None:
    def norm(share: float) -> float:
        return 0.4 * 30 ** min(1, max(0, 4 * (share - 0.5)))

    diagnosis = found(records(lambda _: 1.2, norm=norm), max_grad_norm=0)["learning_rate_too_high"]
    assert 100 <= diagnosis.since_step <= 150
    assert "gradient norm has grown" in diagnosis.message
    # The same norms while the loss still falls are not a fault.
    assert found(records(lambda s: 2.2 - s, norm=norm, noise=0.02), max_grad_norm=0) == {}


def test_many_steps_left_out() -> None:
    diagnosis = found(records(falling(0.5, 2, 6), skipped=lambda step: step > 100 and step % 4 == 0))
    assert diagnosis["learning_rate_too_high"].since_step == 104
    assert "25 of 180 steps" in diagnosis["learning_rate_too_high"].message


def test_spikes() -> None:
    rows = records(falling(0.4, 1.6, 6))
    for step in (100, 103):
        row = next(r for r in rows if r["kind"] == "train" and r["step"] == step)
        row["loss"] += 2 + step / 100
    diagnosis = found(rows)["spikes"]
    assert diagnosis.since_step == 100
    assert "in 2 steps" in diagnosis.message
    assert "(step 103)" in diagnosis.message


def test_most_steps_clipped() -> None:
    diagnosis = found(records(falling(0.4, 1.6, 6), norm=lambda _: 3.0))["clipping"]
    assert diagnosis.since_step == 11, "ten steps of warm-up come before"
    assert "limit 1" in diagnosis.message
    assert found(records(falling(0.4, 1.6, 6), norm=lambda _: 3.0), max_grad_norm=0) == {}


def test_a_plateau_seen_in_the_training_loss() -> None:
    rows = records(falling(0.9, 1.9, 40), noise=0.02, schedule="linear", total=400)
    diagnosis = found(rows)["plateau"]
    assert 30 <= diagnosis.since_step <= 110
    (level,) = re.findall(r"stayed at ([0-9.]+) since", diagnosis.message)
    assert float(level) == pytest.approx(0.9, rel=0.01)


def test_a_plateau_seen_in_the_validation_loss() -> None:
    curve = falling(0.9, 1.9, 40)
    rows = records(curve, noise=0.3, schedule="linear", validation=curve, num_validations=10)
    assert found(rows)["plateau"].since_step <= 60


def test_a_plateau_behind_the_schedule_is_its_doing() -> None:
    assert "plateau" not in found(records(falling(0.9, 1.9, 6), noise=0.01))


def slow(total: int) -> Curve:
    """A loss that is a straight line over the sum of rates: each step does what the first did."""
    rates = [
        learning_rate(s, peak=1, total_steps=total, warmup_steps=total // 20, schedule="cosine") for s in range(total)
    ]
    way = np.cumsum([0.0, *rates])
    return lambda share: 2.0 - 0.06 * way[round(share * total)] / way[-1]


def test_a_learning_rate_that_is_too_low() -> None:
    rows = records(slow(400), total=400, noise=0.02)
    assert set(found(rows)) == {"learning_rate_too_low"}
    # Only the end can tell.
    assert "learning_rate_too_low" not in {d.kind for d in diagnose(rows[:-1], total_steps=400)}


@pytest.mark.parametrize("with_validation", [False, True])
def test_a_slow_but_sure_fall_is_no_plateau_while_it_goes_on(with_validation: bool) -> None:
    """Else one is told first that more steps bring nothing, and at the end that there were too few."""
    curve = slow(75)
    rows = records(curve, total=75, noise=0.002, validation=curve if with_validation else None, num_validations=10)
    for count in range(24, rows.index(next(row for row in rows if row["step"] == 75))):
        assert diagnose(rows[:count], total_steps=75) == []
    assert set(found(rows)) == {"learning_rate_too_low"}


def test_validation_shows_it_through_any_noise() -> None:
    rows = records(slow(200), noise=0.3, validation=slow(200))
    diagnosis = found(rows)["learning_rate_too_low"]
    assert "validation loss fell by 3.0 % in 200 steps" in diagnosis.message
    assert "Raise train.learning_rate" in diagnosis.advice
