from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.evaluation.statistics.bootstrap import bootstrap_limits


@pytest.mark.parametrize("num_rows", [7, 40, 500])
def test_limits_are_those_of_scipy(num_rows: int) -> None:
    """The same draws, the same BCa: equal to rounding."""
    # Multiples of 1/64 have exact sums in any order: a resample that is the sample has exactly its mean.
    values = np.round(64 * np.random.default_rng(num_rows).beta(0.5, 2, num_rows)) / 64
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=1_999, method="BCa", rng=np.random.default_rng(4)
    ).confidence_interval
    low, high = bootstrap_limits(values, num_resamples=1_999, seed=4)
    assert (float(low), float(high)) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_draws_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=30)
    whole = bootstrap_limits(values, num_resamples=500)
    monkeypatch.setattr("luthier.evaluation.statistics.bootstrap._COUNTS_AT_ONCE", 200)
    parts = bootstrap_limits(values, num_resamples=500)
    assert (float(parts[0]), float(parts[1])) == pytest.approx((float(whole[0]), float(whole[1])), abs=1e-12)


def test_many_samples_at_once_are_each_as_alone() -> None:
    values = np.random.default_rng(1).normal(size=(5, 3, 25))
    low, high = bootstrap_limits(values, num_resamples=300)
    assert low.shape == high.shape == (5, 3)
    alone = bootstrap_limits(values[2, 1], num_resamples=300)
    assert (low[2, 1], high[2, 1]) == pytest.approx((float(alone[0]), float(alone[1])))


def test_weighted_mean_is_the_ratio() -> None:
    """Against scipy's own resampling of pairs with the ratio as statistic (another stream of draws: near, not equal)."""
    rng = np.random.default_rng(2)
    weights = rng.integers(1, 50, 80).astype(float)
    values = rng.normal(1.0, 0.3, 80) + 5 / weights
    theirs = stats.bootstrap(
        (values, weights),
        lambda v, w, axis=-1: (v * w).sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        n_resamples=4_999,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    low, high = bootstrap_limits(values, weights, num_resamples=4_999)
    width = theirs.high - theirs.low
    assert float(low) == pytest.approx(theirs.low, abs=0.05 * width)
    assert float(high) == pytest.approx(theirs.high, abs=0.05 * width)


def test_95_percent_intervals_cover_in_93_to_97_of_100_simulations() -> None:
    """2,000 samples of 100 rows of skewed scores between 0 and 1, true mean 2/7."""
    values = np.random.default_rng(5).beta(2, 5, (2_000, 100))
    low, high = bootstrap_limits(values, num_resamples=1_999)
    covered = ((low <= 2 / 7) & (high >= 2 / 7)).mean()
    assert 0.93 <= covered <= 0.97
