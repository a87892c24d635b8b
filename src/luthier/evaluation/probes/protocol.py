"""What a probe of a run's own rows is: a task whose rows come from the run, and which says in a sentence what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, runtime_checkable

from luthier.data.template import ChatTemplate
from luthier.evaluation.contenders import Contender
from luthier.evaluation.protocol import Generation, Judge, TaskRow
from luthier.evaluation.result import TaskResult
from luthier.reporter import Reporter
from luthier.types import Conversation, Document, Message


@dataclass(frozen=True)
class RunRows:
    """What a run learnt from, and what it did not.

    Attributes:
        training: Rows that were trained on.
        held_out: Rows of the same kind that were not.
        template: Renders them as in training.
    """

    training: Sequence[Conversation | Document]
    held_out: Sequence[Conversation | Document]
    template: ChatTemplate


class Found(NamedTuple):
    """What a probe found.

    Attributes:
        result: Row by row; None where there was nothing to ask.
        sentence: For people.
        is_alarming: Whether the sentence is bad news.
    """

    result: TaskResult | None
    sentence: str
    is_alarming: bool

    @classmethod
    def of(cls, result: TaskResult, sentence: str, is_alarming: bool) -> Found:
        """With the sentence among the result's notes, and in its summary."""
        # Graded: a row that is continued is neither right nor wrong.
        probe = {"sentence": sentence, "is_alarming": is_alarming}
        record = {**result.record, "is_graded": True, "probe": probe}
        return cls(replace(result, notes=(*result.notes, sentence), record=record), sentence, is_alarming)


@runtime_checkable
class Probe(Protocol):
    """A task that is asked through `measure`; its `rows` are none, because they are the run's."""

    name: str
    generation: Generation
    scorer: Judge

    def rows(self) -> Sequence[TaskRow]:
        """None."""
        ...

    def few_shot(self) -> Sequence[Message]:
        """None."""
        ...

    def measure(self, rows: RunRows, contenders: Sequence[Contender], reporter: Reporter) -> Found:
        """Ask the contenders (base and tuned, at least) with beginnings of the run's rows."""
        ...
