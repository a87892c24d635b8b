"""The first sentence of the report: what this run showed, and whether its checks passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier.pages.report.evaluation import TaskView, sentence_case
from luthier.pages.report.words import interval_points, number, percent, points
from luthier.runs.manifest import Manifest
from luthier.types import Check

Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True)
class VerdictView:
    """Headline word, the rest of the sentence, further sentences below it."""

    tone: Tone
    word: str
    sentence: str
    more: tuple[str, ...] = ()


def verdict(manifest: Manifest, tasks: Sequence[TaskView], checks: Sequence[Check]) -> VerdictView:
    """Judge the run by its state, its first evaluation and its checks, in this order."""
    checked = _checks_in_words(checks)
    where = f"step {number(manifest.step)} of {number(manifest.total_steps)}"
    if manifest.status == "interrupted":
        return VerdictView("open", "Interrupted", f"at {where}; {checked}.", _reason(manifest))
    if manifest.status == "failed":
        return VerdictView("bad", "Failed", f"at {where}; {checked}.", _reason(manifest))
    if manifest.status == "running":
        return VerdictView("open", "Running", f"{where} when this page was written; {checked}.")
    compared = [(task, c) for task in tasks for c in task.summary["comparisons"] if c["first"] == "tuned"]
    if not compared:
        return _without_comparison(manifest, checked, checks)
    task, comparison = next(((t, c) for t, c in compared if c["second"] == "base"), compared[0])
    word, tone = _JUDGED[comparison["verdict"]]
    if tone == "good" and not all(c.passed for c in checks):
        word, tone = f"{word}, but unverified", "bad"
    others = tuple(_in_words(t, c) for t, c in compared if c is not comparison)
    return VerdictView(tone, word, f"{_change(task, comparison)}; {checked}.", others)


_JUDGED: dict[str, tuple[str, Tone]] = {
    "better": ("Better", "good"),
    "worse": ("Worse", "bad"),
    "no evidence": ("No evidence of a change", "open"),
    "too few rows": ("Too few questions to judge", "open"),
}


def _change(task: TaskView, comparison: Mapping[str, Any]) -> str:
    metric = task.summary["metric"]
    contenders = task.summary["contenders"]
    before, after = contenders[comparison["second"]][metric], contenders[comparison["first"]][metric]
    verb = "rose" if after > before else "fell" if after < before else "stayed"
    difference = comparison["difference"]
    # Whole numbers, unless rounding would make the sentence contradict itself: 6 % to 83 % is not +78 points.
    adds_up = round(100 * after) - round(100 * before) == round(100 * difference["mean"])
    decimals = 0 if adds_up else 1
    now = percent(after, decimals)
    moved = f"{verb} at {now}" if verb == "stayed" else f"{verb} from {percent(before, decimals)} to {now}"
    text = (
        f"{task.metric} {moved} ({points(difference['mean'], decimals)} points, 95 % interval "
        f"{interval_points(difference['low'], difference['high'])}), {number(comparison['num_rows'])} questions"
    )
    needed = comparison.get("rows_needed")
    if comparison["verdict"] in ("no evidence", "too few rows") and needed:
        text += f" (about {number(needed)} would show a difference of this size)"
    return text


def _in_words(task: TaskView, comparison: Mapping[str, Any]) -> str:
    difference = comparison["difference"]
    rival = task.summary["contenders"][comparison["second"]]["title"]
    interval = interval_points(difference["low"], difference["high"])
    return (
        f"Against the {rival} ({task.metric}): {comparison['verdict']}, {points(difference['mean'])} points, "
        f"95 % interval {interval}."
    )


def _without_comparison(manifest: Manifest, checked: str, checks: Sequence[Check]) -> VerdictView:
    loss = manifest.summary.get("validation_loss")
    loss_words = f"validation loss {number(loss)}; " if isinstance(loss, int | float) else ""
    sentence = f"{loss_words}{checked}; no evaluation has compared it with the base model yet."
    if all(c.passed for c in checks):
        return VerdictView("open", "Trained", sentence)
    return VerdictView("bad", "Trained, but unverified", sentence)


def _checks_in_words(checks: Sequence[Check]) -> str:
    if not checks:
        return "no checks were made"
    num_passed = sum(c.passed for c in checks)
    return f"{num_passed} of {len(checks)} checks passed"


def _reason(manifest: Manifest) -> tuple[str, ...]:
    return (sentence_case(manifest.error),) if manifest.error else ()
