"""Tasks answered at every validation: scores over time, the criterion for the best checkpoint, and a watch on what is forgotten.

The untrained model is measured first; what comes later is compared with it row by row. Answers are greedy and go through the one
engine; nothing of the training changes by them: no random number is drawn, and modes and weights are as before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from luthier.config.evaluate import EvaluateSection
from luthier.errors import InputError, ModelError
from luthier.evaluation.contenders import Contender
from luthier.evaluation.forgetting import Kept, is_general, judge_scores
from luthier.evaluation.likelihood import LikelihoodModel
from luthier.evaluation.probes.protocol import Probe
from luthier.evaluation.protocol import Generation, LikelihoodScorer, Scorer, Task, TaskRow
from luthier.evaluation.result import TaskResult
from luthier.evaluation.run_task import run_task
from luthier.reporter import Reporter, Silent
from luthier.runs.folder import RunFolder
from luthier.training.early_stopping import Judgement
from luthier.training.step import autocast
from luthier.types import Message
from luthier.workflows.assemble import BuiltModel, Inputs
from luthier.workflows.before_training import make_engine
from luthier.workflows.evaluate import find_tasks
from luthier.workflows.recording import SCORES_FILE, Scored

OTHER_DIRECTION = ("over_refusal", "under_refusal", "tokens", "share_without_label")
"""Figures that do not get better in the direction of their task's metric, and so cannot choose a checkpoint."""


@dataclass
class WatchedTask:
    """A task as it is asked during training: some of its rows, one greedy answer each, no worked examples."""

    name: str
    scorer: Scorer | LikelihoodScorer
    generation: Generation
    some_rows: Sequence[TaskRow]

    def rows(self) -> Sequence[TaskRow]:
        """Spread evenly over the task's."""
        return self.some_rows

    def few_shot(self) -> Sequence[Message]:
        """None."""
        return ()


def find_watched(section: EvaluateSection) -> list[WatchedTask]:
    """The tasks of `evaluate.during`.

    Raises:
        InputError: There is no such task, it cannot be asked during training, or `best_by` names none of them.
    """
    watched = [_watched(task, section.during_rows) for task in find_tasks(section.during)]
    if section.best_by != "loss":
        _refuse_unknown(section.best_by, watched)
    return watched


def _watched(task: Task, most_rows: int) -> WatchedTask:
    if isinstance(task, Probe):
        raise InputError(
            f"evaluate.during: {task.name} asks with all rows of a finished run. Measure it after training: luthier evaluate "
            f"RUN --task {task.name}."
        )
    rows = list(task.rows())
    if len(rows) > most_rows:
        last = max(most_rows - 1, 1)
        rows = [rows[round(i * (len(rows) - 1) / last)] for i in range(most_rows)]
    return WatchedTask(task.name, task.scorer, Generation(task.generation.max_new_tokens), rows)


def _refuse_unknown(best_by: str, watched: Sequence[WatchedTask]) -> None:
    name, _, metric = best_by.rpartition(".")
    task = next((task for task in watched if task.name == name), None)
    if task is None:
        raise InputError(
            f"evaluate.best_by: there is no task '{name}' among evaluate.during, only: {', '.join(t.name for t in watched)}."
        )
    known = [task.scorer.metric, *(f for f in task.scorer.figures if f not in OTHER_DIRECTION)]
    if metric not in (*known, "score", *(["accuracy"] if task.scorer.is_share else [])):
        raise InputError(
            f"evaluate.best_by: by '{metric}' of {name} no checkpoint can be chosen, only by: {', '.join(known)}."
        )


def refuse_unvalidated(inputs: Inputs) -> None:
    """Tasks are answered at validations, so there must be some.

    Raises:
        InputError: `evaluate.during` names tasks, and there are no validation rows.
    """
    if inputs.recipe.evaluate.during and not len(inputs.data.validation):
        raise InputError(
            "evaluate.during is answered at each validation, and there are no validation rows: set data.validation_fraction "
            "above 0 or give data.validation."
        )


class TaskWatch:
    """Answers the tasks of `evaluate.during` when told to, and writes their scores into scores_over_time.jsonl."""

    def __init__(self, folder: RunFolder, inputs: Inputs, built: BuiltModel, reporter: Reporter) -> None:
        self._folder, self._inputs, self._built, self._reporter = folder, inputs, built, reporter
        self._section = inputs.recipe.evaluate
        self._tasks = find_watched(self._section)
        self._engine = make_engine(inputs, built)
        self._forgotten: set[str] = set()

    def measure(self, step: int) -> Scored:
        """Answer all tasks with the weights after `step` steps."""
        if not self._tasks:
            return Scored()
        began = time.perf_counter()
        devices = [self._inputs.placement.device] if self._inputs.placement.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices), autocast(self._inputs.placement):
                results = [self._ask(task) for task in self._tasks]
        except ModelError as error:  # weights that give no answer are the training's trouble, and it will say so
            self._reporter.say(f"The tasks were not answered at step {step}: {error}", "warning")
            is_chosen = self._section.best_by != "loss"
            return Scored(Judgement(float("nan") if is_chosen else None), {}, time.perf_counter() - began)
        for result in results:
            self._folder.append_line(SCORES_FILE, _record(step, result))
        scores = {f"{result.task}.{name}": value for result in results for name, value in _numbers(result).items()}
        wants_stop = self._watch_forgetting(step)
        return Scored(Judgement(self._criterion(results), wants_stop), scores, time.perf_counter() - began)

    def _ask(self, task: WatchedTask) -> TaskResult:
        likelihood = None
        if isinstance(task.scorer, LikelihoodScorer):
            likelihood = LikelihoodModel(self._built.model, attention=self._inputs.recipe.model.attention)
        contender = Contender("tuned", self._engine, use_adapter=True, likelihood=likelihood)
        return run_task(
            task, [contender], contract=self._inputs.contract, template=self._inputs.template, reporter=Silent()
        )

    def _criterion(self, results: Sequence[TaskResult]) -> float | None:
        """What `best_by` names, turned so that less is better."""
        if self._section.best_by == "loss":
            return None
        name, _, metric = self._section.best_by.rpartition(".")
        result = next(result for result in results if result.task == name)
        numbers = _numbers(result)
        value = numbers.get(metric, numbers[result.metric])
        return value if result.lower_is_better else -value

    def _watch_forgetting(self, step: int) -> bool:
        """Tell what is forgotten, once for each part; whether that ends the training."""
        tolerance = self._section.forgetting_tolerance
        if tolerance is None or step == 0:
            return False
        parts = forgetting_at(list(self._folder.read_lines(SCORES_FILE)), step, tolerance)
        lost = [part for part in parts if part.answer == "forgotten"]
        for part in lost:
            if part.task not in self._forgotten:
                self._forgotten.add(part.task)
                self._reporter.say(f"Step {step}: {part.sentence()}", "warning")
        return bool(lost) and self._section.stop_when_forgotten


def _numbers(result: TaskResult) -> dict[str, float]:
    """Metric and further figures by name."""
    return {**result["tuned"].numbers(), result.metric: result["tuned"].mean.mean}


def _record(step: int, result: TaskResult) -> dict[str, Any]:
    contender = result["tuned"]
    return {
        "step": step,
        "task": result.task,
        "metric": result.metric,
        "value": contender.mean.mean,
        "low": contender.mean.low,
        "high": contender.mean.high,
        "num_rows": result.num_rows,
        "lower_is_better": result.lower_is_better,
        "is_share": result.is_share,
        "numbers": _numbers(result),
        "scores": contender.scores,
        "weights": contender.weights,
    }


def forgetting_at(records: Sequence[Mapping[str, Any]], step: int, tolerance: float) -> list[Kept]:
    """The parts of the suite at a step against the untrained model, from the lines of scores_over_time.jsonl."""
    before = {r["task"]: r for r in records if r["step"] == 0 and is_general(r["task"])}
    now = [r for r in records if r["step"] == step and r["task"] in before]
    return [
        judge_scores(
            r["task"],
            r["metric"],
            before[r["task"]]["scores"],
            r["scores"],
            tolerance,
            weights=r["weights"],
            lower_is_better=r["lower_is_better"],
            is_share=r["is_share"],
        )
        for r in now
    ]
