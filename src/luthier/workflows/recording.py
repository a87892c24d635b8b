"""What a training writes into its run folder as it goes: metrics, checks, log; and what it tells the front end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from luthier.checks.training import FirstSteps
from luthier.errors import CheckFailedError
from luthier.reporter import Level, Reporter
from luthier.runs.atomic import write_text
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest, now
from luthier.training.early_stopping import Judgement
from luthier.training.step import StepResult
from luthier.training.trackers import Trackers
from luthier.types import Check
from luthier.workflows.watch_curves import CurveWatch

SAMPLES_FILE = "samples_over_time.jsonl"
SCORES_FILE = "scores_over_time.jsonl"


class Scored(NamedTuple):
    """What the tasks that are watched have measured at a validation.

    Attributes:
        scores: By ``task.metric``.
    """

    judgement: Judgement = Judgement()
    scores: Mapping[str, float] = MappingProxyType({})
    seconds: float = 0.0

    def to_json(self) -> dict[str, float]:
        """For the validation's line in metrics.jsonl; nothing where nothing is watched."""
        return {**self.scores, "task_seconds": self.seconds} if self.scores else {}


class LoggedReporter:
    """Passes everything on to the front end's reporter, and keeps what was said in log.txt."""

    def __init__(self, reporter: Reporter, folder: RunFolder) -> None:
        self._reporter, self._log = reporter, folder / "log.txt"

    def _write(self, line: str) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{now()} {line}\n")

    def stage(self, title: str) -> None:
        """Pass on and log."""
        self._write(f"== {title}")
        self._reporter.stage(title)

    def say(self, message: str, level: Level = "info") -> None:
        """Pass on and log."""
        self._write(f"{'warning: ' if level == 'warning' else ''}{message}")
        self._reporter.say(message, level)

    def progress(self, name: str, done: float, total: float, detail: Mapping[str, float | str] | None = None) -> None:
        """Pass on."""
        self._reporter.progress(name, done, total, detail)

    def check(self, check: Check) -> None:
        """Pass on and log."""
        self._write(
            f"check {check.name}: {'passed' if check.passed else 'FAILED'}, measured {check.measured} {check.unit}"
        )
        self._reporter.check(check)


def record_checks(folder: RunFolder, reporter: Reporter, checks: Sequence[Check]) -> None:
    """Write checks down and report them."""
    folder.record_checks(list(checks))
    for check in checks:
        reporter.check(check)


def stop_if_failed(stage: str, checks: Sequence[Check]) -> None:
    """Raise CheckFailedError if any failed."""
    if not all(check.passed for check in checks):
        raise CheckFailedError(stage, checks)


def forget_after(folder: RunFolder, step: int) -> None:
    """Remove metrics, sample answers and scores of steps that a resume will make again."""
    for name in ("metrics.jsonl", SAMPLES_FILE, SCORES_FILE):
        if not (folder / name).is_file():
            continue
        kept = [record for record in folder.read_lines(name) if record["step"] <= step]
        write_text(folder / name, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept))


class Recorder:
    """The loop's observer: metrics.jsonl, run.json, progress, the checks of the first steps, sample answers, scores, diagnosis.

    Args:
        answer_samples: Answers the sample prompts at a step, and returns the seconds it took.
        score_tasks: Answers the tasks that are watched, and says what follows.
    """

    def __init__(
        self,
        folder: RunFolder,
        manifest: Manifest,
        reporter: Reporter,
        first_steps: FirstSteps | None,
        is_main: bool,
        trackers: Trackers,
        watch: CurveWatch,
        answer_samples: Callable[[int], float],
        score_tasks: Callable[[int], Scored],
    ) -> None:
        self._folder, self._manifest, self._reporter = folder, manifest, reporter
        self._first_steps, self._is_main, self._trackers = first_steps, is_main, trackers
        self._watch, self._answer_samples, self._score_tasks = watch, answer_samples, score_tasks
        self._validation_loss: float | None = None
        self.train_loss: float | None = None

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._is_main:
            self._folder.append_line("metrics.jsonl", record)
            self._trackers.log(record)
            self._watch.add(record)

    def after_step(self, step: int, result: StepResult, record: Mapping[str, Any]) -> None:
        """Write, report, and check once the first steps are made."""
        self._write(record)
        self.train_loss = result.loss
        detail: dict[str, float | str] = {
            "loss": result.loss,
            "tokens_per_second": record["tokens_per_second"],
            "memory_bytes": record["memory_bytes"],
            "learning_rate": record["learning_rate"],
        }
        if self._validation_loss is not None:
            detail["validation_loss"] = self._validation_loss
        self._reporter.progress("train", step, self._manifest.total_steps, detail)
        if not result.applied:
            self._reporter.say(f"Step {step} was left out: its gradient was not finite.", "warning")
        if self._first_steps is not None:
            self._first_steps.observe(result)
            if self._first_steps.is_due():
                checks, self._first_steps = self._first_steps.checks(), None
                record_checks(self._folder, self._reporter, checks)
                stop_if_failed("first training steps", checks)

    def after_validation(self, step: int, loss: float, record: Mapping[str, Any]) -> Judgement:
        """Write and remember, with sample answers and the scores of tasks beside it; what the tasks decide."""
        self._validation_loss = loss
        if not self._is_main:
            return Judgement()
        scored = self._score_tasks(step)
        self._write({**record, "sample_seconds": self._answer_samples(step), **scored.to_json()})
        self._manifest.step = step
        self._manifest.save(self._folder)
        return scored.judgement
