"""Groups of few rows are extreme by chance: the best and the worst of ten slices nearly always are. Shrinkage pulls each
towards what all groups have in common, the more the less is known about it.

How far the groups' true values lie apart is not known either, so it is not estimated but averaged over, each value weighed by
how well it explains the groups (a uniform prior on the share that a typical group is shrunk by: Daniels 1999; Everson and
Morris 2000). With the most likely spread alone, intervals hold far less than they say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

from luthier.evaluation.statistics.intervals import CONFIDENCE, Interval

_NUM_SPREADS = 100
_NUM_SHARES = 99


def shrunk_means(
    means: Sequence[float], variances: Sequence[float], *, confidence: float = CONFIDENCE
) -> list[Interval]:
    """Means of groups, shrunk towards their common mean, with intervals (normal-normal model).

    Args:
        means: Of each group.
        variances: Squared standard error of each mean, above 0.
    """
    x_G, v_G = np.asarray(means, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if (v_G <= 0).any():
        raise ValueError("Variances of means must be above 0.")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    if len(x_G) == 1:
        half = z * math.sqrt(v_G[0])
        return [Interval(float(x_G[0]), float(x_G[0] - half), float(x_G[0] + half))]
    shrinkage_S1 = _midpoints(_NUM_SPREADS)[:, None]
    between_S1 = len(v_G) / (1 / v_G).sum() * (1 - shrinkage_S1) / shrinkage_S1
    precision_SG = 1 / (v_G + between_S1)
    total_S1 = precision_SG.sum(axis=1, keepdims=True)
    common_S1 = (precision_SG * x_G).sum(axis=1, keepdims=True) / total_S1
    fit_S = 0.5 * (np.log(precision_SG).sum(axis=1) - np.log(total_S1[:, 0]))
    fit_S -= 0.5 * (precision_SG * (x_G - common_S1) ** 2).sum(axis=1)
    weight_S1 = special.softmax(fit_S)[:, None]
    own_SG = between_S1 * precision_SG
    centre_SG = own_SG * x_G + (1 - own_SG) * common_S1
    square_SG = own_SG * v_G + (1 - own_SG) ** 2 / total_S1 + centre_SG**2
    centre_G = (weight_S1 * centre_SG).sum(axis=0)
    deviation_G = np.sqrt((weight_S1 * square_SG).sum(axis=0) - centre_G**2)
    return [Interval(float(m), float(m - z * d), float(m + z * d)) for m, d in zip(centre_G, deviation_G, strict=True)]


def shrunk_shares(
    num_right: Sequence[int], num_rows: Sequence[int], *, confidence: float = CONFIDENCE
) -> list[Interval]:
    """Shares of groups, shrunk towards their common share, with intervals (beta-binomial model).

    Args:
        num_right: Right answers in each group.
        num_rows: Rows in each group, at least 1.
    """
    right_G, rows_G = np.asarray(num_right, dtype=np.float64), np.asarray(num_rows, dtype=np.float64)
    if len(rows_G) == 1:  # nothing to be like: Jeffreys' prior
        return [_beta_interval(float(right_G[0]) + 0.5, float(rows_G[0] - right_G[0]) + 0.5, confidence)]
    shrinkage = _midpoints(_NUM_SPREADS)
    precisions = len(rows_G) / (1 / rows_G).sum() * shrinkage / (1 - shrinkage)
    shares_P, precisions_P = (grid.ravel() for grid in np.meshgrid(_midpoints(_NUM_SHARES), precisions))
    alpha_P1, beta_P1 = (shares_P * precisions_P)[:, None], ((1 - shares_P) * precisions_P)[:, None]
    fit_PG = special.betaln(alpha_P1 + right_G, beta_P1 + rows_G - right_G) - special.betaln(alpha_P1, beta_P1)
    weight_P1 = special.softmax(fit_PG.sum(axis=1))[:, None]
    mean_PG = (alpha_P1 + right_G) / (alpha_P1 + beta_P1 + rows_G)
    square_PG = mean_PG * (alpha_P1 + right_G + 1) / (alpha_P1 + beta_P1 + rows_G + 1)
    mean_G = (weight_P1 * mean_PG).sum(axis=0)
    variance_G = (weight_P1 * square_PG).sum(axis=0) - mean_G**2
    # The mixture's quantiles by those of the beta distribution with its mean and variance.
    count_G = mean_G * (1 - mean_G) / variance_G - 1
    return [
        _beta_interval(float(mean * count), float((1 - mean) * count), confidence)
        for mean, count in zip(mean_G, count_G, strict=True)
    ]


def _midpoints(count: int) -> np.ndarray:
    """Of so many equal parts of 0 to 1."""
    return (np.arange(count) + 0.5) / count


def _beta_interval(alpha: float, beta: float, confidence: float) -> Interval:
    low, high = stats.beta(alpha, beta).interval(confidence)
    return Interval(alpha / (alpha + beta), float(low), float(high))
