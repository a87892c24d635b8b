"""Supervised fine-tuning: the weighted negative log-likelihood of the trained tokens.

    L = − Σ_t w_t · log p(x_t | x_<t)  /  Σ_t w_t

Both sums run over the whole optimiser step: here is the numerator of one micro-batch; the loop divides.
"""

from __future__ import annotations

from luthier.data.batch import Batch
from luthier.data.row_kinds import RowKind
from luthier.objectives.base import LossOutput, Scorer, Term, Want


class Sft:
    """Token-weighted negative log-likelihood."""

    name = "sft"
    needs: RowKind = "conversations"
    unit = "nats per token"

    def weights(self, batch: Batch) -> dict[str, float]:
        """Σ w_t in tokens."""
        return {"tokens": float(batch.targets.weights_S.sum())}

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """− Σ w_t log p(x_t | x_<t)."""
        scores = scorer(batch, Want(logprob=True))
        assert scores.logprob_S is not None
        return LossOutput(terms={"nll": Term(-(scores.logprob_S * batch.targets.weights_S).sum(), "tokens")})
