"""Simple preference optimisation: the reward is the mean log-probability per token, which is what generation goes by.

    L = −log σ( β/|y⁺| log π(y⁺|x) − β/|y⁻| log π(y⁻|x) − γ )        Meng et al. 2024, eq. 6

No reference model, and no reward for length.
"""

from __future__ import annotations

from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from luthier.data.batch import Batch
from luthier.data.row_kinds import RowKind
from luthier.objectives.answers import chosen_nll, pair_metrics, pair_weights, score_pairs
from luthier.objectives.base import LossOutput, Scorer


class Simpo:
    """Length-normalised preference pairs without a reference.

    Args:
        beta: How much a nat per token counts.
        gamma: Margin that the chosen answer's reward shall have over the rejected one's.
        sft_weight: Weight of the chosen answers' negative log-likelihood per token; 0 in the paper.
    """

    name = "simpo"
    needs: RowKind = "pairs"
    unit = "per pair"

    def __init__(self, *, beta: float = 2.0, gamma: float = 1.0, sft_weight: float = 0.0) -> None:
        self._beta, self._gamma, self._sft_weight = beta, gamma, sft_weight

    def weights(self, batch: Batch) -> dict[str, float]:
        """Pairs, and tokens of chosen answers."""
        return pair_weights(batch)

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """The loss of each pair, summed."""
        pairs = score_pairs(scorer, batch)
        chosen_P, rejected_P = (self._beta * side.mean_logprob for side in pairs)
        terms = {"preference": pairs.sum(-F.logsigmoid(chosen_P - rejected_P - self._gamma))}
        if self._sft_weight:
            terms["sft"] = chosen_nll(pairs, self._sft_weight)
        return LossOutput(terms, pair_metrics(pairs, chosen_P, rejected_P))
