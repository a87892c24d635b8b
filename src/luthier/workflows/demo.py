"""`luthier demo`: teach a small model SQL on generated questions, and measure it against itself.

A recipe like any other, trained and evaluated by the same workflows; what is added here are the gates: the demo must show a
gain that is no accident, and more of it than worked examples in the prompt bring.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.config.load import load_recipe
from luthier.demo.shop import heldout_rows, training_rows
from luthier.demo.task import ShopSql
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.result import Answer, TaskResult
from luthier.evaluation.statistics.intervals import Interval
from luthier.pages.report import write_report
from luthier.reporter import Reporter, Silent
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.types import Check
from luthier.workflows.recording import record_checks
from luthier.workflows.train import train

RUN_NAME = "demo"
LEAST_GAIN = 0.5
"""Execution accuracy that tuning must add to the base model's."""

RECIPE: dict[str, Any] = {
    "model": {"name": "smollm2-135m-instruct"},
    "data": {"train": "demo:shop-sql", "validation_fraction": 0.05},
    "adapter": {"kind": "lora", "rank": 16, "alpha": 32},
    "train": {"learning_rate": 1.5e-3, "epochs": 1, "batch_size": 8},
    "evaluate": {"tasks": [ShopSql.name], "max_new_tokens": ShopSql.generation.max_new_tokens, "batch_size": 60},
}
"""Chosen for two CPU cores and a few minutes: few rows, many small steps, a high learning rate."""


@dataclass(frozen=True)
class ContenderResult:
    """One contender's share of right answers with its 95 % interval."""

    execution_accuracy: float
    low: float
    high: float
    num_rows: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "execution_accuracy": self.execution_accuracy,
            "low": self.low,
            "high": self.high,
            "rows": self.num_rows,
        }


@dataclass(frozen=True)
class DemoExample:
    """One held-out question with all answers to it."""

    question: str
    reference_sql: str
    base: str
    base_correct: bool
    few_shot: str
    few_shot_correct: bool
    tuned: str
    tuned_correct: bool


@dataclass(frozen=True)
class DemoResult:
    """What the demo showed.

    Attributes:
        difference: Tuned − base, paired.
        difference_few_shot: Tuned − base with examples, paired.
        checks: All checks of the run, the demo's gates among them.
    """

    run: Path
    report: Path
    seconds: float
    base: ContenderResult
    few_shot: ContenderResult
    tuned: ContenderResult
    difference: Interval
    difference_few_shot: Interval
    examples: list[DemoExample]
    checks: list[Check]

    @property
    def checks_passed(self) -> int:
        """Number of checks that hold."""
        return sum(check.passed for check in self.checks)

    @property
    def checks_failed(self) -> int:
        """Number of checks that do not."""
        return len(self.checks) - self.checks_passed

    def to_json(self) -> dict[str, Any]:
        """The last object that ``luthier demo --json`` prints."""
        return {
            "run": str(self.run),
            "seconds": round(self.seconds, 2),
            "base": self.base.to_json(),
            "few_shot": self.few_shot.to_json(),
            "tuned": self.tuned.to_json(),
            "difference": self.difference.to_json(),
            "checks": {"passed": self.checks_passed, "failed": self.checks_failed},
        }


def demo(*, folder: Path, overwrite: bool = False, reporter: Reporter | None = None) -> DemoResult:
    """Train, evaluate three contenders on held-out questions, write the report.

    Args:
        folder: Where runs are kept; the demo's is `folder`/demo.
        overwrite: Replace an earlier demo run.
        reporter: Told of progress.

    Raises:
        RunError: There is a demo run already and `overwrite` is off.
        CheckFailedError: A check before or during training failed. (Failed gates are in the result, not raised.)
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    recipe = load_recipe({**RECIPE, "run": {"name": RUN_NAME, "folder": str(folder)}})
    trained = train(recipe, overwrite=overwrite, reporter=reporter)
    assert trained.evaluation is not None, "the demo's recipe names its task"
    (result,) = trained.evaluation.tasks
    run = RunFolder.open(trained.run)
    record_checks(run, reporter, gates(result))
    checks = run.checks()
    manifest = Manifest.load(run)
    manifest.verdict = "verified" if all(check.passed for check in checks) else "unverified"
    manifest.summary |= {result.metric: {contender.name: contender.mean.mean for contender in result.contenders}}
    manifest.save(run)
    report = write_report(run.path)
    return DemoResult(
        run=run.path,
        report=report,
        seconds=time.perf_counter() - began,
        base=_contender(result, "base"),
        few_shot=_contender(result, "few_shot"),
        tuned=_contender(result, "tuned"),
        difference=result.comparison("tuned", "base").difference,
        difference_few_shot=result.comparison("tuned", "few_shot").difference,
        examples=choose_examples(result),
        checks=checks,
    )


def gates(result: TaskResult) -> list[Check]:
    """What the demo claims: held-out questions are new, the gain is large, and examples in the prompt do not reach it."""
    gain = result.comparison("tuned", "base").difference
    over_examples = result.comparison("tuned", "few_shot").difference
    asked_before = _prompts(heldout_rows()) & _prompts(training_rows())
    return [
        Check(
            name="demo.heldout",
            claim="No held-out question occurs in the training data.",
            measured=len(asked_before),
            limit=0,
            unit="questions",
            passed=not asked_before,
            advice="The measured accuracy would partly be memory. The generator is at fault; please report it.",
        ),
        Check(
            name="demo.gain",
            claim=f"Tuning adds at least {100 * LEAST_GAIN:.0f} points of execution accuracy to the base model's, and the "
            "95 % interval of the paired difference excludes zero.",
            measured=_in_points(gain),
            limit=f"{100 * LEAST_GAIN:+.0f}, above 0",
            unit="points",
            passed=gain.mean >= LEAST_GAIN and gain.low > 0,
            advice="Look at the loss curve in the report: a flat one means too few steps or a learning rate that is off.",
        ),
        Check(
            name="demo.beats_few_shot",
            claim="The tuned model, asked the bare question, is better than the base model with worked examples; the 95 % "
            "interval of the paired difference excludes zero.",
            measured=_in_points(over_examples),
            limit="above 0",
            unit="points",
            passed=over_examples.low > 0,
            advice="Where examples in the prompt do as well, tuning is not worth its cost: compare the answers in the report.",
        ),
    ]


def choose_examples(result: TaskResult) -> list[DemoExample]:
    """Three questions that tell the story, by rule: two that only the tuned model gets right (a join first, then another
    kind), and one that it gets wrong. Where there are none of these, the first rows fill up.
    """
    rows = list(zip(result["base"].answers, result["few_shot"].answers, result["tuned"].answers, strict=True))
    only_tuned = [r for r in rows if _is_right(r[2]) and not _is_right(r[0]) and not _is_right(r[1])]
    first = next((r for r in only_tuned if _kind(r) == "join"), None)
    second = next((r for r in only_tuned if r is not first and (first is None or _kind(r) != _kind(first))), None)
    wrong = next((r for r in rows if not _is_right(r[2])), None)
    chosen = [r for r in (first, second, wrong) if r is not None]
    chosen += [r for r in rows if not any(r is c for c in chosen)][: 3 - len(chosen)]
    return [_example(*r) for r in chosen]


def _example(base: Answer, few_shot: Answer, tuned: Answer) -> DemoExample:
    return DemoExample(
        question=base.row.messages[-1].content,
        reference_sql=base.row.reference,
        base=base.text,
        base_correct=_is_right(base),
        few_shot=few_shot.text,
        few_shot_correct=_is_right(few_shot),
        tuned=tuned.text,
        tuned_correct=_is_right(tuned),
    )


def _is_right(answer: Answer) -> bool:
    return answer.score.value >= 1


def _kind(row: Sequence[Answer]) -> str:
    return row[0].row.slices["kind"]


def _contender(result: TaskResult, name: ContenderName) -> ContenderResult:
    return ContenderResult(*result[name].mean, num_rows=result.num_rows)


def _prompts(rows: Sequence[dict[str, Any]]) -> set[str]:
    return {row["messages"][-2]["content"] for row in rows}


def _in_points(difference: Interval) -> str:
    return f"{100 * difference.mean:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
