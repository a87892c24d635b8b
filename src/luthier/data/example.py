"""A tokenised row: what packing moves around. One or more segments that must stay together in one micro-batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Part(IntEnum):
    """What a segment is to an objective that compares or judges answers."""

    TEXT = 0
    """Context, or all of a row that is simply learnt."""
    CHOSEN = 1
    REJECTED = 2
    GOOD = 3
    BAD = 4
    MISMATCHED = 5
    """An answer to another prompt: how far the policy has moved where nothing pulls at it (KTO's reference point)."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Tokens with the weight that each has *as a target* (0: only context), and the segment they continue.

    Attributes:
        ids: Token ids, int32.
        weights: float32, same length. The first token of a segment without parent has nothing to predict it: weight 0.
        parent: Index of another segment of the same example, or -1.
        row: The row this segment ends, where rows were merged into one example (-1: a prefix that several rows share);
            None: the example's own.
        part: What it is among the answers of its row.
        reference: Log-probability of its weighted tokens under the reference model, in nats; NaN where it is not known.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    parent: int = -1
    row: int | None = None
    part: Part = Part.TEXT
    reference: float = math.nan


@dataclass(frozen=True, eq=False)
class Example:
    """One row of the data set after tokenisation.

    Attributes:
        row: Index of the row in the data set it was read from (stable under shuffling and splitting).
        segments: Parents before children. An instruction-tuning row has one; a preference pair has its prompt
            and, continuing it, two answers.
    """

    row: int
    segments: tuple[Segment, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model for this example."""
        return sum(len(s.ids) for s in self.segments)

    @property
    def num_targets(self) -> int:
        """Tokens that are learnt."""
        return sum(int(np.count_nonzero(s.weights)) for s in self.segments)
