"""Supervised fine-tuning: the weighted negative log-likelihood of the trained tokens.

    L = − Σ_t w_t · log p(x_t | x_<t)  /  Σ_t w_t

Both sums run over the whole optimiser step: here is the numerator of one micro-batch; the loop divides. With label smoothing ε
the target is not the token alone but, with a share of ε, every token of the vocabulary alike (Szegedy et al. 2016, section 7):

    (1 − ε) · (− log p(x_t))  +  ε · (− mean_v log p(v))
"""

from __future__ import annotations

import torch

from luthier.data.batch import Batch
from luthier.data.row_kinds import RowKind
from luthier.objectives.base import LossOutput, Scorer, Term, Want


class Sft:
    """Token-weighted negative log-likelihood.

    Args:
        label_smoothing: ε. Without gradient, in validation, there is none: what is measured is the likelihood itself, which can
            be compared between runs.
    """

    name = "sft"
    needs: RowKind = "conversations"
    unit = "nats per token"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def weights(self, batch: Batch) -> dict[str, float]:
        """Σ w_t in tokens."""
        return {"tokens": float(batch.targets.weights_S.sum())}

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """− Σ w_t log p(x_t | x_<t), smoothed where gradients are made."""
        share = self.label_smoothing if torch.is_grad_enabled() else 0.0
        scores = scorer(batch, Want(logprob=True, vocab_mean=share > 0))
        assert scores.logprob_S is not None
        weights_S = batch.targets.weights_S
        nll = -(scores.logprob_S * weights_S).sum()
        if not share:
            return LossOutput(terms={"nll": Term(nll, "tokens")})
        assert scores.vocab_mean_S is not None
        uniform = -(scores.vocab_mean_S * weights_S).sum()
        return LossOutput(
            terms={"target": Term((1 - share) * nll, "tokens"), "smoothing": Term(share * uniform, "tokens")},
            metrics={"nll": Term(nll.detach(), "tokens")},
        )
