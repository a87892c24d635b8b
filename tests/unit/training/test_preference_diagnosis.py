"""Rewards that are too easy, too flat, or bought by falling likelihood are named; healthy and short trainings are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from luthier.training.preference_diagnosis import diagnose_preferences


def records(num_steps: int, **terms: Callable[[int], float]) -> list[dict[str, Any]]:
    """A training of DPO; a term is given as a function of the step."""
    noise = np.random.default_rng(0).normal(size=(num_steps + 1, 2))
    usual: dict[str, Callable[[int], float]] = {
        "reward_accuracy": lambda step: min(0.9, 0.5 + step / 60),
        "reward_margin": lambda step: step / 40 + 0.02 * noise[step, 0],
        "chosen_logprob": lambda step: -1.2 - step / 400 + 0.02 * noise[step, 1],
    }
    return [
        {"kind": "train", "step": step, "terms": {name: value(step) for name, value in {**usual, **terms}.items()}}
        for step in range(1, num_steps + 1)
    ]


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [diagnosis.kind for diagnosis in diagnose_preferences(found)]


def test_a_healthy_training_and_one_that_compares_nothing_have_no_diagnosis() -> None:
    assert kinds(records(60)) == []
    assert kinds([{"kind": "train", "step": i, "loss": 1.0} for i in range(1, 60)]) == []
    assert kinds([{"kind": "validation", "step": 0, "terms": {"reward_accuracy": 1.0}}]) == []


def test_pairs_that_are_told_apart_at_once() -> None:
    all_at_once = records(30, reward_accuracy=lambda step: float(step > 2))
    assert kinds(all_at_once) == ["trivial_pairs"]
    (found,) = diagnose_preferences(all_at_once)
    assert found.since_step == 5
    assert "100 %" in found.message
    assert kinds(records(30, reward_accuracy=lambda step: float(step > 20))) == []
    assert kinds(all_at_once[:10]) == [], "too short to say"
    assert kinds(all_at_once[12:]) == [], "a part of a training says nothing about its beginning"


def test_a_margin_that_stays_flat_after_twenty_steps() -> None:
    rng = np.random.default_rng(1)
    flat = records(40, reward_margin=lambda _: rng.normal(0, 0.01), reward_accuracy=lambda _: 0.52)
    assert kinds(flat) == ["flat_margin"]
    assert kinds(flat[:20]) == []
    assert kinds(records(40, reward_margin=lambda _: rng.normal(0, 0.01), reward_accuracy=lambda _: 0.8)) == []
    rising = records(40, reward_margin=lambda step: step / 100, reward_accuracy=lambda _: 0.55)
    assert kinds(rising) == []


def test_labelled_answers_have_a_margin_of_their_two_rewards() -> None:
    def labelled(good: Callable[[int], float]) -> list[dict[str, Any]]:
        terms = {"reward_accuracy": lambda _: 0.5, "rewards_good": good, "rewards_bad": lambda s: 0.001 * (s % 3)}
        rows = records(40, **terms)
        for row in rows:
            del row["terms"]["reward_margin"], row["terms"]["chosen_logprob"]
        return rows

    assert kinds(labelled(lambda step: 0.001 * (step % 2))) == ["flat_margin"]
    assert kinds(labelled(lambda step: step / 50)) == []


def test_chosen_answers_that_become_unlikely() -> None:
    assert kinds(records(60, chosen_logprob=lambda step: -1.2 - step / 40)) == ["chosen_collapse"]
    rng = np.random.default_rng(2)
    noisy = records(60, chosen_logprob=lambda _: rng.normal(-3, 2))
    assert kinds(noisy) == []
