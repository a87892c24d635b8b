"""`luthier evaluate`: a finished run against its base model, on tasks."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.demo.task import ShopSql
from luthier.errors import InputError
from luthier.evaluation.contenders import three_contenders
from luthier.evaluation.protocol import Task
from luthier.evaluation.result import TaskResult, save_result
from luthier.evaluation.run_task import run_task
from luthier.evaluation.tasks.file_task import load_task_file
from luthier.pages.report import write_report
from luthier.reporter import Reporter, Silent
from luthier.workflows.load_run import load_run

BUILT_IN_TASKS: dict[str, Callable[[], Task]] = {ShopSql.name: ShopSql}


@dataclass(frozen=True)
class EvaluationResult:
    """What was measured; the same stands in the run folder under evaluation/."""

    run: Path
    tasks: tuple[TaskResult, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``: the summaries by the name of the task."""
        return {
            "run": str(self.run),
            "seconds": round(self.seconds, 2),
            "tasks": {task.task: task.to_json() for task in self.tasks},
        }


def evaluate(run: Path, *, tasks: Sequence[str] = (), reporter: Reporter | None = None) -> EvaluationResult:
    """Answer tasks with the base model, the base model with worked examples (where the task has any) and the tuned model.

    The results go into the run folder, and into its report, which is written again.

    Args:
        run: Path of a finished run.
        tasks: Built-in names or paths of task files; none: those of the run's recipe.
        reporter: Told of progress.

    Raises:
        InputError: A task is unknown or wrong, or none was named; nothing was loaded.
        RunError: There is no such run, or it has no result.
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    chosen = find_tasks(tasks)
    reporter.stage("Load the run")
    loaded = load_run(run, reporter=reporter)
    chosen = chosen or find_tasks(loaded.recipe.evaluate.tasks)
    if not chosen:
        raise InputError(
            f"The recipe of {loaded.folder.name} names no evaluate.tasks, so say what to measure: --task my_task.yaml "
            f"(what stands in such a file: luthier evaluate --help) or a built-in one: {', '.join(BUILT_IN_TASKS)}."
        )
    tuned, base = loaded.engine(), loaded.base_engine()
    results: list[TaskResult] = []
    for task in chosen:
        reporter.stage(f"Evaluate {task.name}")
        contenders = three_contenders(task, tuned=tuned, base=base)
        result = run_task(task, contenders, contract=loaded.contract, template=loaded.template, reporter=reporter)
        save_result(loaded.folder, result)
        for comparison in result.comparisons():
            reporter.say(comparison.sentence())
        results.append(result)
    write_report(loaded.folder.path)
    return EvaluationResult(loaded.folder.path, tuple(results), time.perf_counter() - began)


def find_task(name: str) -> Task:
    """A built-in task by its name, or a task file by its path.

    Raises:
        InputError: There is no such task, or its file is wrong.
    """
    if name in BUILT_IN_TASKS:
        return BUILT_IN_TASKS[name]()
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return load_task_file(path)
    near = difflib.get_close_matches(name, BUILT_IN_TASKS, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(
        f"There is no task '{name}'.{hint} Built-in tasks: {', '.join(BUILT_IN_TASKS)}. A task of your own is a .yaml file: "
        "name, data, prompt, reference, scorer."
    )


def find_tasks(names_or_paths: Sequence[str]) -> list[Task]:
    """Tasks by built-in name or path of a file.

    Raises:
        InputError: One does not exist or is wrong, or two have one name.
    """
    tasks = [find_task(name) for name in names_or_paths]
    names = [task.name for task in tasks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            f"Two tasks have the name {', '.join(twice)}; results are kept by name, so give them different ones."
        )
    return tasks
