"""Contrastive preference optimisation: DPO with a uniform reference, and imitation of the chosen answers.

    L = −log σ( β (log π(y⁺|x) − log π(y⁻|x)) )  +  α · (−log π(y⁺|x) per token)        Xu et al. 2024, eqs. 3 to 5

No reference model: half the passes of DPO, and nothing but the imitation that keeps the policy where it was.
"""

from __future__ import annotations

from typing import Literal

from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from luthier.data.batch import Batch
from luthier.data.row_kinds import RowKind
from luthier.objectives.answers import chosen_nll, pair_metrics, pair_weights, score_pairs
from luthier.objectives.base import LossOutput, Scorer

CpoLoss = Literal["sigmoid", "hinge"]


class Cpo:
    """Preference pairs without a reference.

    Args:
        loss: −log σ(βd), or max(0, 1 − βd).
        beta: How much a nat of difference counts.
        sft_weight: α.
        label_smoothing: Share of labels that are taken to be wrong (sigmoid).
    """

    name = "cpo"
    needs: RowKind = "pairs"
    unit = "per pair"

    def __init__(
        self, *, loss: CpoLoss = "sigmoid", beta: float = 0.1, sft_weight: float = 1.0, label_smoothing: float = 0.0
    ) -> None:
        self._loss: CpoLoss = loss
        self._beta, self._sft_weight, self._smoothing = beta, sft_weight, label_smoothing

    def weights(self, batch: Batch) -> dict[str, float]:
        """Pairs, and tokens of chosen answers."""
        return pair_weights(batch)

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """Both terms, summed."""
        pairs = score_pairs(scorer, batch)
        d_P = self._beta * (pairs.chosen.logprob_P - pairs.rejected.logprob_P)
        if self._loss == "hinge":
            losses_P = F.relu(1 - d_P)
        else:
            losses_P = -(1 - self._smoothing) * F.logsigmoid(d_P) - self._smoothing * F.logsigmoid(-d_P)
        terms = {"preference": pairs.sum(losses_P)}
        if self._sft_weight:
            terms["sft"] = chosen_nll(pairs, self._sft_weight)
        return LossOutput(terms, pair_metrics(pairs, *(self._beta * side.logprob_P for side in pairs)))
