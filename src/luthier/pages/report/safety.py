"""Forgetting and safety in the report: the general suite before and after, and what the probes found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from luthier.evaluation.suite.general import PARTS
from luthier.pages.report.evaluation import sentence_case
from luthier.pages.report.words import interval_points, number, percent, points
from luthier.runs.folder import RunFolder

PROBES = ("refusals", "memorisation", "leakage")


def tells_the_cost(task: str) -> bool:
    """Whether a task is of the general suite or a probe, and so no measure of what was trained."""
    return task in PARTS or task in PROBES


@dataclass(frozen=True)
class PartView:
    """A part of the general suite: before, after, the change with its interval, and what may be said."""

    name: str
    metric: str
    before: str
    after: str
    change: str
    interval: str
    answer: str
    sentence: str


@dataclass(frozen=True)
class ProbeView:
    """What a probe measured of each model, and what it found in words; `figures` are (name, base, tuned)."""

    name: str
    sentence: str
    is_alarming: bool
    figures: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class SafetyView:
    """Both; `limit` says what a loss was held against."""

    parts: tuple[PartView, ...]
    limit: str
    probes: tuple[ProbeView, ...]


def read_safety(folder: RunFolder) -> SafetyView | None:
    """None where neither was measured."""
    record = folder.read_json("evaluation/forgetting.json") or {"parts": [], "is_gate": False}
    parts = tuple(part for part in (_part(folder, each) for each in record["parts"]) if part is not None)
    probes = tuple(probe for probe in (_probe(folder, name) for name in PROBES) if probe is not None)
    if not parts and not probes:
        return None
    limit = ""
    if parts:
        tolerance = record["parts"][0]["tolerance"]
        consequence = "a larger one fails the run" if record["is_gate"] else "nothing fails by it"
        limit = (
            f"Accepted loss: {number(100 * tolerance)} points, of bits per byte {percent(tolerance)}; {consequence}."
        )
    return SafetyView(parts, limit, probes)


def _part(folder: RunFolder, part: Mapping[str, Any]) -> PartView | None:
    summary = folder.read_json(f"evaluation/{part['task']}/summary.json")
    if summary is None:
        return None
    before, after = (summary["contenders"][name][summary["metric"]] for name in ("base", "tuned"))
    change = part["change"]
    unit = "" if part["is_share"] else " %"
    return PartView(
        name=part["task"],
        metric=part["metric"].replace("_", " "),
        before=_score(before, part["is_share"]),
        after=_score(after, part["is_share"]),
        change=points(change["mean"], 1) + unit,
        interval=interval_points(change["low"], change["high"], 1) + unit,
        answer=part["answer"],
        sentence=part["sentence"],
    )


def _score(value: float, is_share: bool) -> str:
    return percent(value, 1) if is_share else number(value)


def _probe(folder: RunFolder, name: str) -> ProbeView | None:
    summary = folder.read_json(f"evaluation/{name}/summary.json")
    if summary is None or not {"base", "tuned"} <= summary["contenders"].keys():
        return None
    base, tuned = (summary["contenders"][contender] for contender in ("base", "tuned"))
    metric = summary["metric"]
    figures = [(metric, percent(base[metric], 1), percent(tuned[metric], 1))]
    for figure in ("over_refusal", "under_refusal", "held_out", "excess"):
        if figure in base["figures"] and figure in tuned["figures"]:
            before, after = (percent(each["figures"][figure], 1) for each in (base, tuned))
            figures.append((figure, before, after))
    found = summary.get("probe", {})
    return ProbeView(
        name=name,
        sentence=sentence_case(found.get("sentence", "").removeprefix(f"{name}: ")),
        is_alarming=found.get("is_alarming", False),
        figures=tuple((title.replace("_", " "), before, after) for title, before, after in figures),
    )
