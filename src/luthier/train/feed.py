"""From tokenised rows to the micro-batches of a step, for this rank. Pure functions of the step: nothing to resume."""

from __future__ import annotations

from dataclasses import dataclass

from luthier.data.batch import Batch
from luthier.data.collate import collate
from luthier.data.order import step_rows
from luthier.data.pack import pack_for_ranks
from luthier.data.tokenize import TokenizedSet
from luthier.train.ranks import Ranks


@dataclass(frozen=True)
class Feed:
    """Training and validation rows with the way they are cut.

    Attributes:
        batch_size: Rows per optimiser step over all ranks.
        budget_tokens: Tokens per micro-batch; a longer row goes alone.
    """

    train: TokenizedSet
    validation: TokenizedSet
    batch_size: int
    budget_tokens: int
    seed: int
    ranks: Ranks

    def step_batches(self, step: int) -> list[Batch]:
        """Micro-batches of optimiser step `step` (from 0) for this rank; equally many on every rank."""
        rows = step_rows(len(self.train), self.batch_size, seed=self.seed, step=step)
        return self._batches(self.train, rows)

    def validation_batches(self) -> list[Batch]:
        """All validation rows of this rank."""
        return self._batches(self.validation, list(range(len(self.validation))))

    def _batches(self, rows_of: TokenizedSet, rows: list[int]) -> list[Batch]:
        lengths = [int(rows_of.lengths[row]) for row in rows]
        packed = pack_for_ranks(lengths, self.budget_tokens, self.ranks.world_size)[self.ranks.rank]
        shortest = min(range(len(rows)), key=lambda i: (lengths[i], i))
        return [
            collate([rows_of[rows[i]] for i in bin_])
            if bin_
            else collate([rows_of[rows[shortest]]]).without_weight()  # keeps ranks in step; weighs nothing
            for bin_ in packed
        ]

    def largest_batch(self, total_steps: int) -> Batch:
        """The micro-batch of this rank with the most tokens among those that hold the longest row."""
        longest = int(self.train.lengths.argmax())
        for step in range(total_steps):
            rows = step_rows(len(self.train), self.batch_size, seed=self.seed, step=step)
            if longest in rows:
                lengths = [int(self.train.lengths[row]) for row in rows]
                for bins in pack_for_ranks(lengths, self.budget_tokens, self.ranks.world_size):
                    for packed in bins:
                        if longest in (rows[i] for i in packed):
                            return collate([self.train[rows[i]] for i in packed])
        return collate([self.train[longest]])
