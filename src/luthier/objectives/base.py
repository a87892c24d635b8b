"""What an objective is, and what it may ask of a model. Pure mathematics: nothing here knows of loops, devices or files.

An objective sees the model only through `Scorer`: a batch and a `Want` in, `Scores` out. It returns *sums*; the loop
divides each sum by the weight of its unit over the whole accumulated step and over all ranks. That makes
batch 8 × accumulation 1, 1 × 8 and two ranks the same step, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from luthier.data.batch import Batch
from luthier.data.row_kinds import RowKind


@dataclass(frozen=True, slots=True)
class Want:
    """What a forward pass shall compute at the supervised positions (S).

    Attributes:
        logprob: log p(target) in nats.
        entropy: Entropy of the predicted distribution in nats.
        vocab_mean: Mean over the vocabulary of log p; what label smoothing needs.
        hidden: The last hidden state itself; what heads need.
    """

    logprob: bool = True
    entropy: bool = False
    vocab_mean: bool = False
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Scores:
    """Answers to a `Want`, float32 of shape [S] ([S, H] for `hidden`, in the compute type); what was not asked is None."""

    logprob_S: Tensor | None = None
    entropy_S: Tensor | None = None
    vocab_mean_S: Tensor | None = None
    hidden_SH: Tensor | None = None


class Scorer(Protocol):
    """A model as an objective sees it."""

    def __call__(self, batch: Batch, want: Want) -> Scores:
        """One forward pass over the batch."""
        ...


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a loss: a differentiable sum, and the unit by whose total weight the loop divides it."""

    total: Tensor
    unit: str


@dataclass(frozen=True, slots=True)
class LossOutput:
    """The terms of a micro-batch by name, and what else is worth logging (detached sums, divided by the same units)."""

    terms: Mapping[str, Term]
    metrics: Mapping[str, Term] = field(default_factory=dict[str, Term])


class Objective(Protocol):
    """The mathematics of a training method.

    `weights` must not need the model: the loop asks it for the whole step before the first forward pass. A unit that only
    metrics are divided by may weigh nothing in a step: those metrics are left out.

    Attributes:
        needs: Kind of rows that it learns from.
        unit: What its loss is, per what; for people.
    """

    name: str
    needs: RowKind
    unit: str

    def weights(self, batch: Batch) -> dict[str, float]:
        """Weight of the batch in each unit (tokens, pairs, sequences) that the terms are divided by."""
        ...

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """Terms of one micro-batch, as sums."""
        ...


class Prepared(NamedTuple):
    """An objective with what belongs to the whole step bound to it, and the micro-batches that it is to be given."""

    objective: Objective
    batches: Sequence[Batch]


@runtime_checkable
class StepObjective(Objective, Protocol):
    """An objective that needs something of the whole step before its first micro-batch, such as KTO's reference point."""

    def prepare(
        self,
        scorer: Scorer,
        batches: Sequence[Batch],
        total: Callable[[Mapping[str, float]], Mapping[str, float]],
        device: torch.device,
    ) -> Prepared:
        """Called once per step, without gradient, on every rank; what it finds enters the micro-batches as constants.

        Args:
            scorer: The model.
            batches: All micro-batches of this rank, on the CPU.
            total: Sums numbers over all ranks.
            device: Where the model is.
        """
        ...
