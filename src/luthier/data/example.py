"""A tokenised row: what packing moves around. One or more segments that must stay together in one micro-batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Segment:
    """Tokens with the weight that each has *as a target* (0: only context), and the segment they continue.

    Attributes:
        ids: Token ids, int32.
        weights: float32, same length. The first token of a segment without parent has nothing to predict it: weight 0.
        parent: Index of another segment of the same example, or -1.
        row: The row this segment ends, where rows were merged into one example (-1: a prefix that several rows share);
            None: the example's own.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    parent: int = -1
    row: int | None = None


@dataclass(frozen=True, eq=False)
class Example:
    """One row of the data set after tokenisation.

    Attributes:
        row: Index of the row in the data set it was read from (stable under shuffling and splitting).
        segments: Parents before children. An instruction-tuning row has one.
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
