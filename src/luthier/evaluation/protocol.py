"""What a task and a scorer are. Small on purpose: a task is rows and a scorer, a scorer turns an answer into a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from luthier.types import Message


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One question.

    Attributes:
        id: Stable name of the row within its task.
        messages: The prompt, without the answer.
        reference: What the scorer compares with; its meaning is the scorer's.
        slices: Named groups the row belongs to, e.g. {"kind": "join"}.
    """

    id: str
    messages: tuple[Message, ...]
    reference: Any
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """Verdict on one answer: `value` from 0 (wrong) to 1 (right), and in words why."""

    value: float
    why: str


class Scorer(Protocol):
    """Judges answers. Must not raise on any text: a broken answer is a wrong answer."""

    name: str

    def score(self, row: TaskRow, answer: str) -> Score:
        """Judge one answer."""
        ...


class Task(Protocol):
    """A set of questions with a way to judge the answers.

    Attributes:
        name: Short, unique, stable.
        metric: What the mean of the scores is called (`execution_accuracy`).
        max_new_tokens: Longest answer that makes sense.
    """

    name: str
    metric: str
    scorer: Scorer
    max_new_tokens: int

    def rows(self) -> Sequence[TaskRow]:
        """The questions, in a fixed order."""
        ...

    def few_shot(self) -> Sequence[Message]:
        """Messages put between system prompt and question for the few-shot contender; empty: there is none."""
        ...
