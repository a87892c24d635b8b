"""The first sentence of the report: what this run showed, and whether its checks passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from luthier.pages.report.evaluation import TaskView, sentence_case
from luthier.pages.report.safety import tells_the_cost
from luthier.pages.report.scale import Scale
from luthier.pages.report.words import number
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
    """Judge the run by its state, its first evaluation and its checks, in this order.

    The general suite and the probes say what tuning cost; what it was for is for the other tasks to say.
    """
    checked = _checks_in_words(checks)
    where = f"step {number(manifest.step)} of {number(manifest.total_steps)}"
    if manifest.status == "interrupted":
        return VerdictView("open", "Interrupted", f"at {where}; {checked}.", _reason(manifest))
    if manifest.status == "failed":
        return VerdictView("bad", "Failed", f"at {where}; {checked}.", _reason(manifest))
    if manifest.status == "running":
        return VerdictView("open", "Running", f"{where} when this page was written; {checked}.")
    own = [task for task in tasks if not tells_the_cost(task.name)]
    compared = [(task, c) for task in own for c in task.summary["comparisons"] if c["first"] == "tuned"]
    if not compared:
        return _without_comparison(manifest, checked, checks)
    task, comparison = next(((t, c) for t, c in compared if c["second"] == "base"), compared[0])
    word, tone = _JUDGED[comparison["verdict"]]
    if tone == "good" and not all(c.passed for c in checks):
        word, tone = f"{word}, but unverified", "bad"
    several = len(own) > 1
    others = tuple(_in_words(t, c, several=several) for t, c in compared if c is not comparison)
    others += _forgetting(checks)
    where = f"{task.name}, " if several else ""
    return VerdictView(tone, word, f"{where}{_change(task, comparison)}; {checked}.", others)


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
    scale = task.scale
    now = scale.score(after, decimals)
    moved = f"{verb} at {now}" if verb == "stayed" else f"{verb} from {scale.score(before, decimals)} to {now}"
    text = (
        f"{task.metric} {moved} ({_told(scale, difference['mean'], decimals)}, 95 % interval "
        f"{scale.interval(difference['low'], difference['high'])}), {number(comparison['num_rows'])} questions"
    )
    needed = comparison.get("rows_needed")
    if comparison["verdict"] in ("no evidence", "too few rows") and needed:
        text += f" (about {number(needed)} would show a difference of this size)"
    return text


def _in_words(task: TaskView, comparison: Mapping[str, Any], *, several: bool) -> str:
    difference = comparison["difference"]
    rival = task.summary["contenders"][comparison["second"]]["title"]
    interval = task.scale.interval(difference["low"], difference["high"])
    against = f"{task.name}, against" if several else "Against"
    return (
        f"{against} the {rival} ({task.metric}): {comparison['verdict']}, {_told(task.scale, difference['mean'])}, "
        f"95 % interval {interval}."
    )


def _told(scale: Scale, difference: float, decimals: int = 0) -> str:
    return f"{scale.difference(difference, decimals)} points" if scale.is_share else scale.difference(difference)


def _without_comparison(manifest: Manifest, checked: str, checks: Sequence[Check]) -> VerdictView:
    loss = manifest.summary.get("validation_loss")
    loss_words = f"validation loss {number(loss)}; " if isinstance(loss, int | float) else ""
    sentence = (
        f"{loss_words}{checked}; no evaluation has compared it with the base model yet at what it was trained for."
    )
    if all(c.passed for c in checks):
        return VerdictView("open", "Trained", sentence, _forgetting(checks))
    return VerdictView("bad", "Trained, but unverified", sentence, _forgetting(checks))


def _forgetting(checks: Sequence[Check]) -> tuple[str, ...]:
    """What the check says of forgetting, where the recipe sets a limit to it."""
    return tuple(f"General suite: {c.measured}." for c in checks if c.name == "evaluation.forgetting")


def _checks_in_words(checks: Sequence[Check]) -> str:
    if not checks:
        return "no checks were made"
    num_passed = sum(c.passed for c in checks)
    return f"{num_passed} of {len(checks)} checks passed"


def _reason(manifest: Manifest) -> tuple[str, ...]:
    return (sentence_case(manifest.error),) if manifest.error else ()
