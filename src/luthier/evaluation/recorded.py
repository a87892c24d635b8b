"""Answers that an evaluation has written down, read again: what a judge or a person is shown, and what runs are compared by.

evaluation/<task>/rows.jsonl of a run holds a line for each row and contender.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from luthier.errors import InputError, RunError
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.protocol import TaskRow
from luthier.runs.folder import RunFolder
from luthier.types import Message


@dataclass(frozen=True)
class RecordedRow:
    """A question with what was answered.

    Attributes:
        row: The question; its messages are what was asked, its reference is as the task has it.
        answers: Lines of rows.jsonl by contender.
    """

    row: TaskRow
    answers: Mapping[ContenderName, Mapping[str, Any]] = field(default_factory=dict)

    def text(self, contender: ContenderName) -> str:
        """What one answered."""
        return str(self.answers[contender]["answer"])

    @property
    def asked(self) -> str:
        """The question as a reader needs it: the conversation, where there was one before it."""
        if len(self.row.messages) == 1:
            return self.row.messages[0].content
        return "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in self.row.messages)

    @property
    def reference_text(self) -> str:
        """The right answer, where it is a text; else empty."""
        return self.row.reference if isinstance(self.row.reference, str) else ""


@dataclass(frozen=True)
class RecordedTask:
    """An evaluated task."""

    name: str
    rows: tuple[RecordedRow, ...]

    @property
    def contenders(self) -> list[ContenderName]:
        """All that answered every row."""
        names = list(self.rows[0].answers)
        return [name for name in names if all(name in row.answers for row in self.rows)]

    def require(self, contenders: Sequence[ContenderName], run: RunFolder) -> None:
        """See that contenders have answered in words.

        Raises:
            InputError: One has not, or the task measures without answers.
        """
        for name in contenders:
            if name not in self.contenders:
                raise InputError(
                    f"{self.name} of {run.name} has no answers of '{name}', only of {', '.join(self.contenders)}. "
                    f"Let it answer first: luthier evaluate {run.typed} --task … --with {name}"
                )
        if any(row.answers[name]["finish_reason"] is None for row in self.rows for name in contenders):
            raise InputError(
                f"{self.name} measures probabilities: no answers were written that could be judged. Name a task whose scorer "
                "reads answers."
            )


def recorded_tasks(folder: RunFolder) -> list[str]:
    """Names of the evaluated tasks of a run."""
    return sorted(path.parent.name for path in (folder / "evaluation").glob("*/summary.json"))


def read_recorded(folder: RunFolder, task: str) -> RecordedTask:
    """Read the answers to a task.

    Raises:
        RunError: The task has not been evaluated, or its rows are damaged.
    """
    rows: dict[str, RecordedRow] = {}
    try:
        for line in folder.read_lines(f"evaluation/{task}/rows.jsonl"):
            found = rows.setdefault(str(line["id"]), RecordedRow(_row(line), {}))
            rows[str(line["id"])] = RecordedRow(found.row, {**found.answers, line["contender"]: line})
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder / f'evaluation/{task}/rows.jsonl'} is damaged ({error}). Evaluate the task again."
        ) from error
    if not rows:
        known = ", ".join(recorded_tasks(folder)) or "none"
        raise RunError(f"{folder.name} has no answers to a task '{task}'; evaluated tasks: {known}.")
    return RecordedTask(task, tuple(rows.values()))


def with_tuned_of(task: RecordedTask, other: RunFolder, name: ContenderName) -> tuple[RecordedTask, int]:
    """The task with the answers of another run's tuned model as a contender more; and how many rows it did not answer.

    Raises:
        RunError: The other run was not evaluated on the task.
        InputError: It answered none of the rows.
    """
    theirs = {_identity(row.row): row.answers["tuned"] for row in read_recorded(other, task.name).rows}
    rows = [
        RecordedRow(row.row, {**row.answers, name: theirs[_identity(row.row)]})
        for row in task.rows
        if _identity(row.row) in theirs
    ]
    if not rows:
        raise InputError(
            f"{other.name} was evaluated on {task.name} too, but on other rows; evaluate both on the same file."
        )
    return RecordedTask(task.name, tuple(rows)), len(task.rows) - len(rows)


def _identity(row: TaskRow) -> tuple[str, str, str]:
    return (row.id, row.question, str(row.reference))


def _row(line: Mapping[str, Any]) -> TaskRow:
    messages = tuple(Message(m["role"], m["content"]) for m in line.get("messages", ()))
    return TaskRow(
        str(line["id"]), messages or (Message("user", line["question"]),), line["reference"], dict(line["slices"])
    )
