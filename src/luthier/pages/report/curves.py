"""The training curves: loss, learning rate, gradient norm, speed, memory, and scores of tasks that were watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.pages.report.chart import LineChart, Series, line_chart
from luthier.pages.report.preferences import loss_unit, preference_charts
from luthier.pages.report.words import number
from luthier.runs.folder import RunFolder
from luthier.units import GIB, MIB, format_bytes, format_count, format_seconds


@dataclass(frozen=True)
class TrainingView:
    """Curves, the figures that sum them up (name, value), and what the curves show: (what, since when, message, advice).

    Attributes:
        last_against_best: The last checkpoint beside the best one, in a sentence; empty where they are one.
    """

    diagnosis: tuple[tuple[str, str, str, str], ...]
    was_looked_at: bool
    loss: LineChart
    small: tuple[LineChart, ...]
    facts: tuple[tuple[str, str], ...]
    last_against_best: str = ""


def read_training(folder: RunFolder) -> TrainingView | None:
    """None where no step has been made."""
    records = list(folder.read_lines("metrics.jsonl"))
    train = [r for r in records if r["kind"] == "train"]
    validation = [r for r in records if r["kind"] == "validation"]
    diagnosis = folder.read_json("diagnosis.json")
    loss = line_chart(
        "Loss",
        [
            Series("training", "train", _values(train, "loss")),
            Series("validation", "validation", _values(validation, "loss"), dots=True),
        ],
        unit=loss_unit(train),
        events=[(d["since_step"], _kind(d)) for d in diagnosis or []],
    )
    if loss is None:
        return None
    charts = [
        line_chart(
            "Learning rate", [Series("learning rate", "plain", _values(train, "learning_rate"))], from_zero=True
        ),
        line_chart("Gradient norm", [Series("gradient norm", "plain", _values(train, "grad_norm"))], from_zero=True),
        line_chart(
            "Speed",
            [
                Series("all tokens", "plain", _values(train, "tokens_per_second")),
                Series("trained tokens", "validation", _values(train, "supervised_tokens_per_second")),
            ],
            unit="tokens per second",
            from_zero=True,
            show=format_count,
        ),
        _memory(train),
    ]
    return TrainingView(
        diagnosis=tuple(
            (_kind(d), f"since step {number(d['since_step'])}", d["message"], d["advice"]) for d in diagnosis or []
        ),
        was_looked_at=diagnosis is not None,
        loss=loss,
        small=tuple(c for c in (*preference_charts(train, validation), *charts, *_scores(folder)) if c is not None),
        facts=_facts(train, validation),
        last_against_best=(folder.read_json("overfitting.json") or {}).get("sentence", ""),
    )


def _scores(folder: RunFolder) -> list[LineChart | None]:
    """Of the tasks that were answered at each validation, one chart each."""
    by_task: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for record in folder.read_lines("scores_over_time.jsonl"):
        by_task.setdefault((record["task"], record["metric"]), []).append((record["step"], record["value"]))
    return [
        line_chart(f"{task}: {metric.replace('_', ' ')}", [Series(metric, "validation", points, dots=True)])
        for (task, metric), points in by_task.items()
    ]


def _kind(diagnosis: Mapping[str, str]) -> str:
    return diagnosis["kind"].replace("_", " ")


def _memory(train: Sequence[dict[str, Any]]) -> LineChart | None:
    """In the unit in which the axis gets round labels."""
    values = _values(train, "memory_bytes")
    size, unit = (GIB, "GiB") if any(y >= GIB for _, y in values) else (MIB, "MiB")
    scaled = [(x, y / size) for x, y in values]
    return line_chart("Memory", [Series("memory", "plain", scaled)], unit=unit, from_zero=True)


def _values(records: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(r["step"], float(r[key])) for r in records if r.get(key) is not None]


def _facts(train: Sequence[dict[str, Any]], validation: Sequence[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str]] = []
    if train:
        seconds = sum(r["seconds"] for r in train)
        tokens, supervised = (sum(r[key] for r in train) for key in ("tokens", "supervised_tokens"))
        facts += [
            ("Steps", number(train[-1]["step"])),
            ("Tokens seen", format_count(tokens)),
            ("of these trained", format_count(supervised)),
            ("Time in steps", format_seconds(seconds)),
            ("Tokens per second", number(round(tokens / seconds)) if seconds else "–"),
        ]
        memory = [r["memory_bytes"] for r in train if r.get("memory_bytes") is not None]
        if memory:
            facts.append(("Peak memory", format_bytes(max(memory))))
        sampling = sum(r.get("sample_seconds", 0.0) + r.get("task_seconds", 0.0) for r in validation)
        if sampling:
            facts.append(("Time for answers between steps", format_seconds(sampling)))
    if validation:
        best = min(validation, key=lambda r: r["loss"])
        facts.append(("Best validation loss", f"{number(best['loss'])} at step {number(best['step'])}"))
    return tuple(facts)
