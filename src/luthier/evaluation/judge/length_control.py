"""The win rate if both answers were equally long: judges like long answers, and tuning often makes answers longer.

Method: the idea of AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475, equation 2) for two contenders. The points of a row
(1 won, 0.5 tied, 0 lost) are fitted by logistic regression, log p / (1 − p) = θ + φ tanh(Δ / sd(Δ)), where Δ is how many
characters longer the first answer is. The length-controlled win rate is what is left at Δ = 0: 1 / (1 + e^−θ). What AlpacaEval
learns from other models about the difficulty of questions is left out: there are no other models here. θ and φ have weak
normal priors (sd 5), so that they stay finite where one side wins every row. The interval is a bootstrap over rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.evaluation.statistics.intervals import CONFIDENCE, Interval

PRIOR_DEVIATION = 5.0
NUM_RESAMPLES = 1_999
_STEPS = 50
_LONGEST_STEP = 2.0
_CONVERGED = 1e-9
_AT_ONCE = 2_000_000

Floats = NDArray[np.float64]


class LengthControl(NamedTuple):
    """What the regression found.

    Attributes:
        win_rate: Length-controlled, with its interval.
        length_effect: φ: above 0 the judge prefers longer answers.
        length_ratio: Characters of the first contender's answers for one of the second's.
    """

    win_rate: Interval
    length_effect: float
    length_ratio: float

    def to_json(self) -> dict[str, Any]:
        """For summary.json."""
        return {
            "win_rate": self.win_rate.to_json(),
            "length_effect": self.length_effect,
            "length_ratio": self.length_ratio,
        }


def length_controlled(
    points: Sequence[float],
    first_lengths: Sequence[int],
    second_lengths: Sequence[int],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> LengthControl | None:
    """Fit it; None where the lengths differ by the same on all rows, so that nothing can be told about their effect.

    Args:
        points: Of the first contender, 0 to 1, one for each row.
        first_lengths: Characters of its answers.
        second_lengths: Of the other's.
        num_resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    differences = np.asarray(first_lengths, np.float64) - np.asarray(second_lengths, np.float64)
    deviation = float(differences.std())
    if len(differences) < 2 or deviation == 0:
        return None
    points_N = np.asarray(points, np.float64)
    longer_N = np.tanh(differences / deviation)
    ((theta, phi),) = fit_logistic(points_N, longer_N, np.ones((1, len(points_N))))
    rng = np.random.default_rng(seed)
    rates: list[Floats] = []
    step = max(1, _AT_ONCE // len(points_N))
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        counts_RN = rng.multinomial(len(points_N), np.full(len(points_N), 1 / len(points_N)), size).astype(np.float64)
        rates.append(_logistic(fit_logistic(points_N, longer_N, counts_RN)[:, 0]))
    low, high = np.quantile(np.concatenate(rates), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    rate = float(_logistic(np.array(theta)))
    ratio = sum(first_lengths) / max(1, sum(second_lengths))
    return LengthControl(Interval(rate, float(low), float(high)), float(phi), ratio)


def fit_logistic(points_N: Floats, longer_N: Floats, counts_RN: Floats) -> Floats:
    """θ and φ [R, 2] of samples in which row n occurs counts[r, n] times; Newton's method on the penalised likelihood."""
    beta_R2 = np.zeros((len(counts_RN), 2))
    squares_N3 = np.stack([np.ones_like(longer_N), longer_N, longer_N**2], axis=1)
    for _ in range(_STEPS):
        share_RN = _logistic(beta_R2[:, :1] + beta_R2[:, 1:] * longer_N)
        error_RN = counts_RN * (points_N - share_RN)
        gradient_R2 = np.stack([error_RN.sum(1), error_RN @ longer_N], axis=1) - beta_R2 / PRIOR_DEVIATION**2
        curvature_R3 = (counts_RN * share_RN * (1 - share_RN)) @ squares_N3
        (a_R, b_R, c_R), prior = curvature_R3.T, 1 / PRIOR_DEVIATION**2
        a_R, c_R = a_R + prior, c_R + prior
        inverse = 1 / (a_R * c_R - b_R**2)
        steps = (c_R * gradient_R2[:, 0] - b_R * gradient_R2[:, 1], a_R * gradient_R2[:, 1] - b_R * gradient_R2[:, 0])
        step_R2 = np.clip(np.stack(steps, axis=1) * inverse[:, None], -_LONGEST_STEP, _LONGEST_STEP)
        beta_R2 = beta_R2 + step_R2
        if np.abs(step_R2).max() < _CONVERGED:
            break
    return beta_R2


def _logistic(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values))
