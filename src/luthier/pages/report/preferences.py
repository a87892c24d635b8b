"""The curves of a training that compares answers: rewards, how often the better answer wins, distance from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.pages.report.chart import LineChart, Series, line_chart

Records = Sequence[Mapping[str, Any]]


def compares_answers(records: Records) -> bool:
    """Whether an objective of preferences wrote these records."""
    return any("reward_accuracy" in record.get("terms", {}) for record in records)


def loss_unit(records: Records) -> str:
    """What the loss is counted in."""
    if not compares_answers(records):
        return "nats per trained token"
    return "mean of the answers" if any("rewards_good" in r.get("terms", {}) for r in records) else "mean of the pairs"


def preference_charts(train: Records, validation: Records) -> list[LineChart | None]:
    """None of them for an objective that imitates."""
    if not compares_answers([*train, *validation]):
        return []
    sides = [("chosen", "rejected"), ("good", "bad")]
    rewards = [
        Series(name, style, _terms(train, f"rewards_{name}"))
        for better, worse in sides
        for name, style in ((better, "train"), (worse, "validation"))
    ]
    return [
        line_chart("Rewards", rewards),
        _both("Reward margin", "reward_margin", train, validation),
        _both("Better answer wins", "reward_accuracy", train, validation, unit="share of rows"),
        _both("Log-probability of chosen answers", "chosen_logprob", train, validation, unit="nats per token"),
        _both(
            "Distance from the reference (KL estimate)", "kl_to_reference", train, validation, unit="nats per answer"
        ),
        _both("Length, chosen less rejected", "length_difference", train, validation, unit="tokens"),
    ]


def _both(title: str, name: str, train: Records, validation: Records, unit: str = "") -> LineChart | None:
    return line_chart(
        title,
        [
            Series("training", "train", _terms(train, name)),
            Series("validation", "validation", _terms(validation, name), dots=True),
        ],
        unit=unit,
    )


def _terms(records: Records, name: str) -> list[tuple[float, float]]:
    return [(r["step"], float(r["terms"][name])) for r in records if name in r.get("terms", {})]
