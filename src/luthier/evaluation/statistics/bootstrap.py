"""Bootstrap limits of a mean over rows (BCa, Efron 1987), for many samples of one size at once.

A mean needs no resampled rows, only how often each row was drawn: all samples share one table of counts, and their resampled
means are one matrix product. The draws are those of `scipy.stats.bootstrap` with the same seed, so the limits are too.

Shape letters: S samples, N rows, R resamples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from luthier.evaluation.statistics.intervals import CONFIDENCE

NUM_RESAMPLES = 9_999
_COUNTS_AT_ONCE = 4_000_000
_ROUNDING = 1e-13

Floats = NDArray[np.float64]


def bootstrap_limits(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    confidence: float = CONFIDENCE,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Lower and upper limits of the (weighted) mean, Σ w v / Σ w; the weights are drawn with their rows.

    Where BCa is not defined (all resamples on one side) the limits are plain percentiles.

    Args:
        values: [..., N].
        weights: [N]; None: all count alike.

    Returns:
        Two arrays of the shape that stands before N.
    """
    values_SN = np.atleast_2d(np.asarray(values, dtype=np.float64))
    shape, num_rows = np.shape(values)[:-1], values_SN.shape[-1]
    values_SN = values_SN.reshape(-1, num_rows)
    weights_N = np.ones(num_rows) if weights is None else np.asarray(weights, dtype=np.float64)
    means_SR = _resampled_means(values_SN, weights_N, num_resamples, seed)
    quantiles_2S = _bca_quantiles(values_SN, weights_N, means_SR, confidence)
    plain = np.array([(1 - confidence) / 2, (1 + confidence) / 2])[:, None]
    quantiles_2S = np.where(np.isfinite(quantiles_2S).all(axis=0), quantiles_2S, plain)
    low, high = (
        np.array([np.quantile(row, q) for row, q in zip(means_SR, side, strict=True)]) for side in quantiles_2S
    )
    return low.reshape(shape), high.reshape(shape)


def _resampled_means(values_SN: Floats, weights_N: Floats, num_resamples: int, seed: int) -> Floats:
    num_rows = len(weights_N)
    rng = np.random.default_rng(seed)
    step = max(1, _COUNTS_AT_ONCE // num_rows)
    parts: list[Floats] = []
    for start in range(0, num_resamples, step):
        size = min(step, num_resamples - start)
        drawn_RN = rng.integers(0, num_rows, (size, num_rows))
        drawn_RN += np.arange(size)[:, None] * num_rows
        counts_RN = np.bincount(drawn_RN.ravel(), minlength=size * num_rows).reshape(size, num_rows).astype(np.float64)
        parts.append((values_SN * weights_N) @ counts_RN.T / (counts_RN @ weights_N))
    return np.concatenate(parts, axis=1)


def _bca_quantiles(values_SN: Floats, weights_N: Floats, means_SR: Floats, confidence: float) -> Floats:
    """Which quantiles of the resampled means are the limits [2, S]; NaN where it is not defined."""
    products_SN = values_SN * weights_N
    totals_S1, weight = products_SN.sum(axis=1, keepdims=True), weights_N.sum()
    mean_S1 = totals_S1 / weight
    same = _ROUNDING * np.abs(values_SN).max(
        axis=1, keepdims=True
    )  # a resample that is the sample, added in another order
    below_S = ((means_SR < mean_S1 - same).mean(axis=1) + (means_SR <= mean_S1 + same).mean(axis=1)) / 2
    with np.errstate(all="ignore"):
        bias_S = special.ndtri(below_S)
        left_out_SN = (totals_S1 - products_SN) / (weight - weights_N)
        moved_SN = left_out_SN.mean(axis=1, keepdims=True) - left_out_SN
        acceleration_S = (moved_SN**3).sum(axis=1) / (6 * (moved_SN**2).sum(axis=1) ** 1.5)
        quantiles = []
        for z in special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2]):
            shifted_S = bias_S + z
            quantiles.append(special.ndtr(bias_S + shifted_S / (1 - acceleration_S * shifted_S)))
    return np.array(quantiles)
