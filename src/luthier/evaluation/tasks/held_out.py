"""The rows that a run kept back, as a task: its conversations up to the last answer, which is the reference.

Answers are right where they have the words of the reference. Free answers seldom do: let them be judged (`luthier judge`), or
compared by people (`luthier blind`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from luthier.errors import DataError
from luthier.evaluation.protocol import Generation, TaskRow
from luthier.evaluation.scorers.normalised_match import NormalisedMatch
from luthier.types import Conversation, Message

NAME = "heldout"
MOST_ROWS = 200
"""Of more rows those with the least hashes are asked: the same ones whatever their order."""
NUM_EXAMPLES, LONGEST_EXAMPLE_CHARACTERS = 4, 1500
"""Learnt rows that the base model is shown: what a good prompt makes of the same data."""


class HeldOut:
    """Questions that the run has not learnt from.

    Args:
        rows: Held-out rows of any kind; conversations that end with the assistant's words are asked.
        learnt: The rows that the run has learnt from; a few single questions of them are the base model's worked examples.
        max_new_tokens: Longest answer.

    Raises:
        DataError: There is no such row.
    """

    name = NAME

    def __init__(self, rows: Iterable[object], learnt: Iterable[object], max_new_tokens: int) -> None:
        self.scorer = NormalisedMatch()
        self.generation = Generation(max_new_tokens)
        found = _by_hash(rows)
        if not found:
            raise DataError(
                "The run kept back no conversations, so there is no task 'heldout'. Name a task file, or train with "
                "data.validation or data.validation_fraction."
            )
        chosen = sorted(found)[:MOST_ROWS]
        self._rows = tuple(
            TaskRow(f"heldout-{key}", found[key].messages[:-1], found[key].messages[-1].content) for key in chosen
        )
        self._examples = _examples(learnt)

    def rows(self) -> Sequence[TaskRow]:
        """The questions."""
        return self._rows

    def few_shot(self) -> Sequence[Message]:
        """A few learnt rows without their system prompt: each question brings its own."""
        return self._examples


def _by_hash(rows: Iterable[object]) -> dict[str, Conversation]:
    return {
        hashlib.blake2b(repr(row.messages).encode(), digest_size=8).hexdigest(): row
        for row in rows
        if isinstance(row, Conversation) and not row.tools and _ends_with_an_answer(row)
    }


def _examples(learnt: Iterable[object]) -> tuple[Message, ...]:
    """Question and answer of single-turn rows that are not too long, by least hash."""
    spoken = [tuple(m for m in row.messages if m.role != "system") for _, row in sorted(_by_hash(learnt).items())]
    short = [
        turns
        for turns in spoken
        if [m.role for m in turns] == ["user", "assistant"]
        and sum(len(m.content) for m in turns) <= LONGEST_EXAMPLE_CHARACTERS
    ]
    return tuple(message for turns in short[:NUM_EXAMPLES] for message in turns)


def _ends_with_an_answer(row: Conversation) -> bool:
    last = row.messages[-1]
    return len(row.messages) > 1 and last.role == "assistant" and bool(last.content.strip())
