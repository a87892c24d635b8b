"""Several answers to one question, as one score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from luthier.evaluation.protocol import Score


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Probability that one of `k` answers drawn from `num_samples` is right, of which `num_right` are.

    1 − C(n − c, k) / C(n, k): unbiased (Chen et al. 2021, arXiv:2107.03374, equation 1).
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} cannot be told from {num_samples} samples.")
    return 1.0 - math.comb(num_samples - num_right, k) / math.comb(num_samples, k)


def combined(scores: Sequence[Score], pass_at: Sequence[int] = ()) -> Score:
    """The mean of the scores and of their measures; a sample is right where its score is 1."""
    if len(scores) == 1 and not pass_at:
        return scores[0]
    num_right = sum(score.value >= 1 for score in scores)
    names = {name for score in scores for name in score.measures}
    measures = {
        name: sum(score.measures[name] for score in scores) / len(scores)
        for name in sorted(names)
        if all(name in score.measures for score in scores)
    }
    measures |= {f"pass@{k}": pass_at_k(len(scores), num_right, k) for k in pass_at}
    return Score(
        sum(score.value for score in scores) / len(scores),
        f"{num_right} of {len(scores)} samples are right; the first: {scores[0].why}",
        scores[0].found,
        measures,
        scores[0].weight,
    )
