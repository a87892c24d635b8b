"""From tokenised rows to the micro-batches of a step, for this rank. Pure functions of the step: nothing to resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from luthier.data.answers import unshared
from luthier.data.batch import Batch
from luthier.data.collate import collate
from luthier.data.example import Example
from luthier.data.order import step_rows, steps_per_epoch
from luthier.data.pack import pack_for_ranks
from luthier.data.prefix import plan_sharing
from luthier.data.tokenize import TokenizedSet
from luthier.training.ranks import Ranks

MOST_STEPS_LOOKED_AT = 500
"""Steps that are packed in advance to find the largest micro-batch; a second or so of work."""


@dataclass
class Feed:
    """Training and validation rows with the way they are cut.

    Attributes:
        batch_size: Rows per optimiser step over all ranks.
        budget_tokens: Tokens per micro-batch; a longer row goes alone. May be lowered at any time: steps stay the same.
        share_prefixes: Whether rows that begin alike go through the model as a tree; exact without dropout.
    """

    train: TokenizedSet
    validation: TokenizedSet
    batch_size: int
    budget_tokens: int
    seed: int
    ranks: Ranks
    share_prefixes: bool = True
    _validation: tuple[int, list[Batch]] | None = field(default=None, init=False, repr=False)

    def step_batches(self, step: int) -> list[Batch]:
        """Micro-batches of optimiser step `step` (from 0) for this rank; equally many on every rank."""
        return self._batches(self._step_examples(step))

    def validation_batches(self) -> list[Batch]:
        """All validation rows of this rank; packed once per budget."""
        if self._validation is None or self._validation[0] != self.budget_tokens:
            rows = [self.validation[i] for i in range(len(self.validation))]
            self._validation = (self.budget_tokens, self._batches(rows))
        return self._validation[1]

    def one_batch(self, examples: Sequence[Example]) -> Batch:
        """Some rows as one micro-batch, whatever the budget, cut as in training."""
        return collate(self._units(examples, sum(e.num_tokens for e in examples)))

    def _step_examples(self, step: int) -> list[Example]:
        rows = step_rows(len(self.train), self.batch_size, seed=self.seed, step=step)
        return [self.train[row] for row in rows]

    def _units(self, examples: Sequence[Example], budget_tokens: int) -> list[Example]:
        if not self.share_prefixes:
            return [unshared(example) for example in examples]
        return plan_sharing(examples, budget_tokens)

    def _micro_batches(self, examples: Sequence[Example]) -> list[list[list[Example]]]:
        """Per rank, per micro-batch: the units that go through the model together."""
        units = self._units(examples, self.budget_tokens)
        packed = pack_for_ranks([u.num_tokens for u in units], self.budget_tokens, self.ranks.world_size)
        return [[[units[i] for i in bin_] for bin_ in rank] for rank in packed]

    def _batches(self, examples: Sequence[Example]) -> list[Batch]:
        shortest = min(examples, key=lambda e: (e.num_tokens, e.row))
        filler = collate([shortest]).without_weight()  # keeps ranks in step; weighs nothing
        return [collate(units) if units else filler for units in self._micro_batches(examples)[self.ranks.rank]]

    def largest_batch(self, total_steps: int) -> Batch:
        """The largest micro-batch of the first steps, or the one that holds the longest row if that is larger still."""
        longest = int(self.train.lengths.argmax())
        steps = min(total_steps, steps_per_epoch(len(self.train), self.batch_size), MOST_STEPS_LOOKED_AT)
        candidates = [[self.train[longest]]]
        for step in range(steps):
            candidates += [units for rank in self._micro_batches(self._step_examples(step)) for units in rank]
        return collate(max(candidates, key=lambda units: sum(unit.num_tokens for unit in units)))
