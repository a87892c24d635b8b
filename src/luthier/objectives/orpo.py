"""Odds-ratio preference optimisation: imitation of the chosen answers, and a push on the odds between chosen and rejected.

    L = −log p(y⁺|x) per token  −  λ log σ( log odds(y⁺|x) − log odds(y⁻|x) )        Hong et al. 2024, eqs. 6 and 7

with odds(y|x) = p/(1−p) and p the geometric mean of the token probabilities. No reference model. The likelihood is that of the
answer's tokens; prompts are not learnt.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from luthier.data.batch import Batch
from luthier.data.row_kinds import RowKind
from luthier.objectives.answers import chosen_nll, pair_metrics, pair_weights, score_pairs
from luthier.objectives.base import LossOutput, Scorer


class Orpo:
    """Imitation with an odds-ratio term.

    Args:
        weight: λ.
    """

    name = "orpo"
    needs: RowKind = "pairs"
    unit = "per pair"

    def __init__(self, *, weight: float = 0.1) -> None:
        self._weight = weight

    def weights(self, batch: Batch) -> dict[str, float]:
        """Pairs, and tokens of chosen answers."""
        return pair_weights(batch)

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """Both terms, summed."""
        pairs = score_pairs(scorer, batch)
        chosen_P, rejected_P = (log_odds(side.mean_logprob) for side in pairs)
        odds_P = -self._weight * torch.nn.functional.logsigmoid(chosen_P - rejected_P)
        rewards = (self._weight * side.mean_logprob for side in pairs)
        terms = {"sft": chosen_nll(pairs), "preference": pairs.sum(odds_P)}
        return LossOutput(terms, pair_metrics(pairs, *rewards))


def log_odds(mean_logprob_P: Tensor) -> Tensor:
    """The log-odds log p − log(1−p) from log p < 0, without cancellation at either end (Mächler 2012, log1mexp)."""
    # Both branches are finite, because `where` passes gradients of the branch that is not taken as 0 · value.
    safe_P = mean_logprob_P.clamp(max=-1e-7)
    is_small_P = safe_P > -math.log(2)
    near_one_P = torch.log(-torch.expm1(torch.where(is_small_P, safe_P, -0.5)))
    near_zero_P = torch.log1p(-torch.exp(torch.where(is_small_P, -1.0, safe_P)))
    return mean_logprob_P - torch.where(is_small_P, near_one_P, near_zero_P)
