"""From token scores to answers: what every objective that compares or judges answers begins with.

Shape letters: S supervised positions, N segments, P pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from luthier.data.batch import Batch
from luthier.data.example import Part
from luthier.objectives.base import Scorer, Term, Want


class SegmentScores(NamedTuple):
    """Log-probability of each segment's targets in nats, and how many they are (by weight)."""

    logprob_N: Tensor
    length_N: Tensor


def score_segments(scorer: Scorer, batch: Batch) -> SegmentScores:
    """One forward pass, summed over the targets of each segment."""
    logprob_S = scorer(batch, Want(logprob=True)).logprob_S
    assert logprob_S is not None
    targets = batch.targets
    zeros_N = torch.zeros(len(batch.segments.lengths), device=logprob_S.device)
    return SegmentScores(
        zeros_N.index_add(0, targets.segments_S, logprob_S * targets.weights_S),
        zeros_N.index_add(0, targets.segments_S, targets.weights_S),
    )


class Answers(NamedTuple):
    """One side of the pairs of a batch, in order, or labelled answers of one kind.

    Attributes:
        logprob_P: Log-probability of each answer, nats.
        reference_P: The same under the reference model; None for objectives without one.
        length_P: Tokens; at least 1.
        is_real_P: 0 for a filler, which counts nothing.
    """

    logprob_P: Tensor
    reference_P: Tensor | None
    length_P: Tensor
    is_real_P: Tensor

    @property
    def mean_logprob(self) -> Tensor:
        """Nats per token."""
        return self.logprob_P / self.length_P

    @property
    def log_ratio(self) -> Tensor:
        """The log-ratio log π(y|x) − log π_ref(y|x)."""
        assert self.reference_P is not None, "this objective has no reference"
        return self.logprob_P - self.reference_P


def answers_of(part: Part, batch: Batch, scores: SegmentScores, reference_N: Tensor | None) -> Answers:
    """Those answers of a batch that are `part`."""
    segments = batch.segments_of(part)
    device = scores.logprob_N.device
    where_P = torch.tensor(segments, dtype=torch.int64, device=device)
    is_real_P = torch.tensor([float(batch.rows[i] >= 0) for i in segments], device=device)
    # A filler weighs nothing; so that nothing it enters is infinite, it counts as one token of −1 nat.
    logprob_P = torch.where(is_real_P > 0, scores.logprob_N[where_P], -1.0)
    return Answers(
        logprob_P,
        None if reference_N is None else torch.where(is_real_P > 0, reference_N[where_P], -1.0),
        scores.length_N[where_P].clamp(min=1.0),
        is_real_P,
    )


class Pairs(NamedTuple):
    """Chosen and rejected answers to the same prompts, in the same order."""

    chosen: Answers
    rejected: Answers

    def sum(self, values_P: Tensor) -> Term:
        """Sum over the pairs that count."""
        return Term((values_P * self.chosen.is_real_P).sum(), "pairs")


def score_pairs(scorer: Scorer, batch: Batch, reference_N: Tensor | None = None) -> Pairs:
    """One forward pass over prompts with both answers."""
    scores = score_segments(scorer, batch)
    chosen, rejected = (answers_of(part, batch, scores, reference_N) for part in (Part.CHOSEN, Part.REJECTED))
    assert len(chosen.logprob_P) == len(rejected.logprob_P) > 0, "a pair is torn apart"
    return Pairs(chosen, rejected)


def pair_weights(batch: Batch) -> dict[str, float]:
    """Pairs of a batch, and tokens of their chosen answers."""
    chosen = [i for i in batch.segments_of(Part.CHOSEN) if batch.rows[i] >= 0]
    belongs_N = torch.zeros(len(batch.rows), dtype=torch.bool)
    belongs_N[chosen] = True
    targets = batch.targets
    tokens = float((targets.weights_S * belongs_N.to(targets.weights_S.device)[targets.segments_S]).sum())
    return {"pairs": float(len(chosen)), "chosen_tokens": tokens}


def chosen_nll(pairs: Pairs, weight: float = 1.0) -> Term:
    """−Σ log p of the chosen answers' tokens, times a weight: what supervised fine-tuning on them would minimise."""
    total = -(pairs.chosen.logprob_P * pairs.chosen.is_real_P).sum()
    return Term(weight * total, "chosen_tokens")


def pair_metrics(pairs: Pairs, chosen_reward_P: Tensor, rejected_reward_P: Tensor) -> dict[str, Term]:
    """What is logged of pairs whatever the objective: rewards, margin, accuracy, lengths, likelihood of the chosen answers.

    With a reference also the drift from it: ½ (log π/π_ref)², nats per answer, on the answers of the data (Schulman's k2
    estimate of the divergence, which is that of samples from the policy only as long as the policy is near them).
    """
    chosen_P, rejected_P = chosen_reward_P.detach(), rejected_reward_P.detach()
    metrics = {
        "rewards_chosen": pairs.sum(chosen_P),
        "rewards_rejected": pairs.sum(rejected_P),
        "reward_margin": pairs.sum(chosen_P - rejected_P),
        "reward_accuracy": pairs.sum((chosen_P > rejected_P).float()),
        "length_difference": pairs.sum(pairs.chosen.length_P - pairs.rejected.length_P),
        "chosen_logprob": Term(-chosen_nll(pairs).total.detach(), "chosen_tokens"),
    }
    if pairs.chosen.reference_P is not None:
        squares_P = pairs.chosen.log_ratio.detach().square() + pairs.rejected.log_ratio.detach().square()
        metrics["kl_to_reference"] = pairs.sum(squares_P / 4)  # half the square, mean of the two answers
    return metrics
