"""A part of the suite as a task: rows, a scorer, and no worked examples.

What is asked is whether the tuned model has lost what the base model does by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.evaluation.protocol import Generation, LikelihoodScorer, Scorer, TaskRow
from luthier.types import Message


@dataclass
class SuitePart:
    """Rows that are always the same, with what judges them."""

    name: str
    scorer: Scorer | LikelihoodScorer
    generation: Generation
    questions: tuple[TaskRow, ...]

    def rows(self) -> Sequence[TaskRow]:
        """In a fixed order."""
        return self.questions

    def few_shot(self) -> Sequence[Message]:
        """None."""
        return ()
