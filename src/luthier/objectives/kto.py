"""Kahneman-Tversky optimisation: single answers, each labelled good or bad, judged against a reference point.

    r  = β log π(y|x)/π_ref(y|x)
    z₀ = β max(0, mean over the step of log π(y'|x)/π_ref(y'|x)), y' an answer to another prompt
    L  = w⁺ (1 − σ(r − z₀)) for good answers,  w⁻ (1 − σ(z₀ − r)) for bad ones        Ethayarajh et al. 2024, eqs. 7 and 8

z₀ estimates the divergence from the reference and belongs to the whole step: it is computed once, without gradient, over all
micro-batches and ranks, and enters each micro-batch as a constant. So how rows are cut does not change the loss.

Shape letters: P answers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from luthier.data.batch import Batch
from luthier.data.example import Part
from luthier.data.row_kinds import RowKind
from luthier.objectives.answers import answers_of, score_segments
from luthier.objectives.base import LossOutput, Prepared, Scorer, Term
from luthier.objectives.reference import Reference


class Kto:
    """Labelled answers against a reference.

    Args:
        reference: The policy before training.
        beta: How much a nat of log-ratio counts.
        good_weight: w⁺. With many more bad than good answers, raise it so that w⁺ · good ≈ 1 to 1.33 times w⁻ · bad.
        bad_weight: w⁻.
    """

    name = "kto"
    needs: RowKind = "labelled"
    unit = "per answer"

    def __init__(
        self, reference: Reference, *, beta: float = 0.1, good_weight: float = 1.0, bad_weight: float = 1.0
    ) -> None:
        self._reference = reference
        self._beta, self._good_weight, self._bad_weight = beta, good_weight, bad_weight
        self._kl: float | None = None

    def weights(self, batch: Batch) -> dict[str, float]:
        """Answers, and how many of them are good and bad."""
        good, bad = (float(sum(batch.rows[i] >= 0 for i in batch.segments_of(part))) for part in (Part.GOOD, Part.BAD))
        return {"answers": good + bad, "good_answers": good, "bad_answers": bad}

    def prepare(
        self,
        scorer: Scorer,
        batches: Sequence[Batch],
        total: Callable[[Mapping[str, float]], Mapping[str, float]],
        device: torch.device,
    ) -> Prepared:
        """The reference point, from the answers to other prompts; the micro-batches go on without these."""
        log_ratio, count = 0.0, 0.0
        for batch in (b.only({Part.MISMATCHED}).to(device) for b in batches):
            others = answers_of(Part.MISMATCHED, batch, score_segments(scorer, batch), self._reference(batch))
            log_ratio += float((others.log_ratio * others.is_real_P).sum())
            count += float(others.is_real_P.sum())
        sums = total({"log_ratio": log_ratio, "count": count})
        bound = copy.copy(self)
        bound._kl = max(0.0, sums["log_ratio"] / sums["count"])
        return Prepared(bound, [b.only({Part.GOOD, Part.BAD}) for b in batches])

    def loss(self, scorer: Scorer, batch: Batch) -> LossOutput:
        """The loss of each answer, summed."""
        assert self._kl is not None, "`prepare` was not called for this step"
        reference_N = self._reference(batch)
        scores = score_segments(scorer, batch)
        good, bad = (answers_of(part, batch, scores, reference_N) for part in (Part.GOOD, Part.BAD))
        zero = self._beta * self._kl
        good_P, bad_P = self._beta * good.log_ratio, self._beta * bad.log_ratio
        good_losses_P = self._good_weight * (1 - F.sigmoid(good_P - zero))
        bad_losses_P = self._bad_weight * (1 - F.sigmoid(zero - bad_P))

        def summed(good_values_P: Tensor, bad_values_P: Tensor) -> Tensor:
            return (good_values_P * good.is_real_P).sum() + (bad_values_P * bad.is_real_P).sum()

        nothing_P = torch.zeros_like
        metrics = {
            "rewards_good": Term(summed(good_P, nothing_P(bad_P)).detach(), "good_answers"),
            "rewards_bad": Term(summed(nothing_P(good_P), bad_P).detach(), "bad_answers"),
            "reward_accuracy": Term(summed((good_P > zero).float(), (bad_P < zero).float()), "answers"),
            "kl_to_reference": Term(self._kl * (good.is_real_P.sum() + bad.is_real_P.sum()), "answers"),
        }
        return LossOutput({"preference": Term(summed(good_losses_P, bad_losses_P), "answers")}, metrics)
