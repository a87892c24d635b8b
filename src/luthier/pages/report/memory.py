"""Memory: what was planned, what the trial step before training took, what the training took, and what the machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.pages.report.chart import Bar, score_bar
from luthier.runs.folder import RunFolder
from luthier.types import Check
from luthier.units import GIB, format_bytes


@dataclass(frozen=True)
class MemoryView:
    """Rows (what, how much, its bar as a share of the limit), and what the machine has."""

    rows: tuple[tuple[str, str, Bar], ...]
    limit: str


def read_memory(folder: RunFolder, checks: Sequence[Check]) -> MemoryView | None:
    """None unless both the trial step and the training were measured."""
    trial = next((check for check in checks if check.name == "preflight.longest_row"), None)
    used = [r["memory_bytes"] for r in folder.read_lines("metrics.jsonl") if r.get("memory_bytes") is not None]
    if trial is None or isinstance(trial.measured, str) or isinstance(trial.limit, str) or not used:
        return None
    limit = trial.limit * GIB
    plan = folder.read_json("plan.json")
    planned = [] if plan is None else [(f"Planned: at {plan['peak']}", float(plan["total_bytes"]))]
    figures = [
        *planned,
        ("Tried: a step with the longest row, tried before training", trial.measured * GIB),
        ("Measured: the highest of the whole training", float(max(used))),
    ]
    return MemoryView(
        tuple(
            (name, format_bytes(size), score_bar(size / limit, size / limit, size / limit)) for name, size in figures
        ),
        format_bytes(limit),
    )
