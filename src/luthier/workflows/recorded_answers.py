"""Answers of a run to a task, for a judge or a person: found by what is typed, evaluated first where they are not there yet."""

from __future__ import annotations

from luthier.errors import InputError, RunError
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.recorded import RecordedTask, read_recorded, recorded_tasks, with_tuned_of
from luthier.evaluation.tasks.held_out import NAME as HELD_OUT
from luthier.reporter import Reporter
from luthier.runs.find import find_run
from luthier.runs.folder import RunFolder
from luthier.workflows.evaluate import evaluate, find_task


def recorded_answers(folder: RunFolder, task: str, reporter: Reporter) -> RecordedTask:
    """The answers to a task, which is evaluated now where it was not.

    Raises:
        InputError: There is no such task.
    """
    name = task if task == HELD_OUT or task in recorded_tasks(folder) else find_task(task).name
    if name not in recorded_tasks(folder):
        reporter.say(f"{folder.name} has no answers to {name} yet; it is evaluated first.")
        evaluate(folder.path, tasks=[task], reporter=reporter)
    return read_recorded(folder, name)


def beside(
    recorded: RecordedTask, folder: RunFolder, other: str
) -> tuple[RecordedTask, ContenderName, tuple[str, ...]]:
    """The answers with those of another contender or run, how it is called, and what was left out.

    Raises:
        InputError: There are no answers of it.
    """
    if other == "tuned":
        raise InputError(
            "The tuned model cannot be held against itself; name base, few_shot, another contender or run."
        )
    if other in recorded.contenders:
        recorded.require(["tuned", other], folder)
        return recorded, other, ()
    try:
        rival = RunFolder.open(find_run(other))
    except RunError as error:
        known = ", ".join(name for name in recorded.contenders if name != "tuned")
        raise InputError(f"'{other}' is neither a contender of {recorded.name} ({known}) nor a run: {error}") from error
    answers, num_missing = with_tuned_of(recorded, rival, rival.name)
    answers.require(["tuned", rival.name], folder)
    note = f"{num_missing} rows that {rival.name} did not answer are left out."
    return answers, rival.name, (note,) if num_missing else ()
