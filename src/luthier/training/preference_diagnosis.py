"""What the rewards of a preference training say, in words: pure functions over the records of metrics.jsonl.

As in `diagnosis`, a rule asks for enough points and says nothing where noise could explain what it sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.training.diagnosis import Diagnosis

Floats = NDArray[np.float64]

AT_ONCE_STEPS = 5
"""Within so few steps a policy learns what is obvious, not what is good."""

STEADY_STEPS = 10
"""Steps that must all agree before something is called so."""

FLAT_AFTER_STEPS = 20
NEAR_CHANCE = 0.6
"""Accuracy up to which pairs are as good as undecided."""

COLLAPSE_NATS = 1.0
"""Per token: the chosen answers have become e times less likely, each token of them."""


def diagnose_preferences(records: Sequence[Mapping[str, Any]]) -> list[Diagnosis]:
    """Everything that the rewards show; empty for a healthy or a short training, and for one that compares nothing."""
    train = [r for r in records if r["kind"] == "train" and "reward_accuracy" in r.get("terms", {})]
    if len(train) < AT_ONCE_STEPS + STEADY_STEPS:
        return []
    found = [_are_trivial(train), _is_flat(train), _collapses(train)]
    return [diagnosis for diagnosis in found if diagnosis is not None]


def _column(train: Sequence[Mapping[str, Any]], name: str) -> Floats:
    return np.array([r["terms"].get(name, math.nan) for r in train], dtype=np.float64)


def _are_trivial(train: Sequence[Mapping[str, Any]]) -> Diagnosis | None:
    """The better answer wins in every pair, from within the first steps on."""
    early = train[AT_ONCE_STEPS - 1 : AT_ONCE_STEPS - 1 + STEADY_STEPS]
    if train[0]["step"] > 1 or (_column(early, "reward_accuracy") < 1.0).any():
        return None
    step = early[0]["step"]
    return Diagnosis(
        "trivial_pairs",
        step,
        f"The better answer has the higher reward in 100 % of the rows since step {step}: they are told apart by something "
        "obvious.",
        "Look at what differs (luthier data check names length bias): pairs that differ in form alone teach form alone. Use "
        "pairs whose answers are alike but for what matters.",
    )


def _margins(train: Sequence[Mapping[str, Any]]) -> Floats:
    """Of pairs as logged; of labelled answers the difference of their mean rewards, in steps that have both."""
    margins = _column(train, "reward_margin")
    return np.where(np.isnan(margins), _column(train, "rewards_good") - _column(train, "rewards_bad"), margins)


def _is_flat(train: Sequence[Mapping[str, Any]]) -> Diagnosis | None:
    """After twenty steps the margin has not surely grown, and answers are told apart hardly better than by chance."""
    if train[-1]["step"] <= FLAT_AFTER_STEPS:
        return None
    margins, late = _margins(train), train[-STEADY_STEPS:]
    begun, now = (part[np.isfinite(part)] for part in (margins[:AT_ONCE_STEPS], margins[-STEADY_STEPS:]))
    if len(begun) < 2 or len(now) < STEADY_STEPS // 2:
        return None
    error = math.hypot(now.std(ddof=1) / math.sqrt(len(now)), begun.std(ddof=1) / math.sqrt(len(begun)))
    growth = float(now.mean() - begun.mean())
    accuracy = float(_column(late, "reward_accuracy").mean())
    if growth > 2 * error or accuracy > NEAR_CHANCE:
        return None
    return Diagnosis(
        "flat_margin",
        late[0]["step"],
        f"The margin between better and worse answers is {now.mean():.3g} after {train[-1]['step']} steps, and the better one "
        f"wins in {100 * accuracy:.0f} % of the rows: nothing is being learnt.",
        "Raise train.learning_rate three- to tenfold; if that does not help, the labels may be noise (luthier data check), or "
        "some may be swapped (objective.loss=robust).",
    )


def _collapses(train: Sequence[Mapping[str, Any]]) -> Diagnosis | None:
    """The chosen answers have become much less likely."""
    values = _column(train, "chosen_logprob")
    begun, now = values[:AT_ONCE_STEPS], values[-AT_ONCE_STEPS:]
    if not np.isfinite([*begun, *now]).all():
        return None
    error = math.hypot(begun.std(ddof=1), now.std(ddof=1)) / math.sqrt(AT_ONCE_STEPS)
    fall = float(begun.mean() - now.mean())
    if fall < max(COLLAPSE_NATS, 4 * error):
        return None
    return Diagnosis(
        "chosen_collapse",
        train[-AT_ONCE_STEPS]["step"],
        f"The chosen answers have become less likely: {begun.mean():.3g} nats per token at the beginning, {now.mean():.3g} now. "
        "The margin grows because the rejected ones fall faster.",
        "Set objective.sft_weight (1 is common), raise objective.beta, or lower train.learning_rate.",
    )
