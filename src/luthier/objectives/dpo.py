"""Direct preference optimisation: the policy itself is the reward model, r(x, y) = β log π(y|x)/π_ref(y|x).

The loss on the rewards of a pair is one of `dpo_losses`. Optionally the negative log-likelihood of the chosen answers is added
(RPO, Pang et al. 2024), which keeps their probability from falling together with that of the rejected ones.
"""

from __future__ import annotations

from luthier.data.batch import Batch
from luthier.data.row_kinds import RowKind
from luthier.objectives.answers import Pairs, chosen_nll, pair_metrics, pair_weights, score_pairs
from luthier.objectives.base import LossOutput, Scorer
from luthier.objectives.dpo_losses import LOSSES, DpoLoss, LogRatios
from luthier.objectives.reference import Reference


class Dpo:
    """Preference pairs against a reference.

    Args:
        reference: The policy before training.
        loss: One of `dpo_losses`.
        beta: How much a nat of log-ratio counts; the smaller, the farther the policy may go from the reference.
        label_smoothing: Share of labels that are taken to be wrong (cdpo, robust), below 0.5.
        sft_weight: Weight of the chosen answers' negative log-likelihood per token.
    """

    name = "dpo"
    needs: RowKind = "pairs"
    unit = "per pair"

    def __init__(
        self,
        reference: Reference,
        *,
        loss: DpoLoss = "sigmoid",
        beta: float = 0.1,
        label_smoothing: float = 0.0,
        sft_weight: float = 0.0,
    ) -> None:
        self._reference = reference
        self._loss = LOSSES[loss]
        self._beta, self._smoothing, self._sft_weight = beta, label_smoothing, sft_weight

    def weights(self, batch: Batch) -> dict[str, float]:
        """Pairs, and tokens of chosen answers."""
        return pair_weights(batch)

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """The chosen loss of each pair, summed."""
        pairs = score_pairs(scorer, batch, self._reference(batch))
        losses_P = self._loss(log_ratios(pairs), self._beta, self._smoothing)
        terms = {"preference": pairs.sum(losses_P)}
        if self._sft_weight:
            terms["sft"] = chosen_nll(pairs, self._sft_weight)
        rewards = (self._beta * side.log_ratio for side in pairs)
        return LossOutput(terms, pair_metrics(pairs, *rewards))


def log_ratios(pairs: Pairs) -> LogRatios:
    """Of both sides."""
    chosen, rejected = pairs
    return LogRatios(chosen.log_ratio, rejected.log_ratio, chosen.length_P, rejected.length_P)
