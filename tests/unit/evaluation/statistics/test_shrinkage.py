from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.evaluation.statistics.shrinkage import shrunk_means, shrunk_shares


def test_means_equal_a_sum_over_drawn_spreads() -> None:
    """The same model, by brute force: spreads from the prior, common means by hand, weighed by the likelihood."""
    x, v = np.array([0.1, 0.45, 0.3, 0.9]), np.array([0.02, 0.01, 0.05, 0.01])
    shrinkage = np.random.default_rng(0).uniform(size=6_000)
    between = 4 / (1 / v).sum() * (1 - shrinkage) / shrinkage
    weights, posteriors = [], []
    for spread in between:
        covariance = np.diag(v + spread) + 1e4  # a common mean that could be anything
        weights.append(stats.multivariate_normal.pdf(x, np.zeros(4), covariance))
        gain = (spread * np.eye(4) + 1e4) @ np.linalg.inv(covariance)
        posteriors.append(gain @ x)
    expected = np.average(posteriors, axis=0, weights=weights)
    assert [each.mean for each in shrunk_means(x.tolist(), v.tolist())] == pytest.approx(expected, abs=0.015)


def test_one_group_is_itself() -> None:
    (only,) = shrunk_means([0.3], [0.01])
    assert only == pytest.approx((0.3, 0.3 - 0.1959964, 0.3 + 0.1959964), rel=1e-5)
    with pytest.raises(ValueError, match="above 0"):
        shrunk_means([0.3, 0.4], [0.0, 0.1])


def test_little_is_shrunk_where_groups_clearly_differ_and_much_where_chance_explains_them() -> None:
    clear = shrunk_means([0.0, 0.5, 1.0], [1e-4] * 3)
    assert [each.mean for each in clear] == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    chance = shrunk_means([0.45, 0.5, 0.55], [0.04] * 3)
    assert chance[2].mean - chance[0].mean < 0.06


def test_small_groups_are_shrunk_more() -> None:
    small, large, other = shrunk_means([1.0, 1.0, 0.0], [0.2, 0.01, 0.01])
    assert 0 < small.mean < large.mean < 1
    assert other.mean > 0


def test_shares_equal_a_sum_over_drawn_priors() -> None:
    right, rows = np.array([1, 30, 8, 19, 3]), np.array([10, 40, 20, 22, 20])
    rng = np.random.default_rng(0)
    share, shrinkage = rng.uniform(size=(2, 100_000))
    precision = 5 / (1 / rows).sum() * shrinkage / (1 - shrinkage)
    alpha, beta = (share * precision)[:, None], ((1 - share) * precision)[:, None]
    likelihood = stats.betabinom.pmf(right, rows, alpha, beta).prod(axis=1)
    expected = np.average((alpha + right) / (alpha + beta + rows), axis=0, weights=likelihood)
    assert [each.mean for each in shrunk_shares(right.tolist(), rows.tolist())] == pytest.approx(expected, abs=0.01)


def test_shares_of_equal_groups_and_of_extremes() -> None:
    found = shrunk_shares([5, 5, 5], [10, 10, 10])
    assert [each.mean for each in found] == pytest.approx([0.5] * 3, abs=1e-6)
    (all_right,) = shrunk_shares([10], [10])
    assert all_right.mean == pytest.approx(10.5 / 11)
    assert all_right.low == pytest.approx(stats.beta(10.5, 0.5).ppf(0.025))
    none = shrunk_shares([0, 0], [15, 30])
    assert all(0 <= each.low < each.mean < each.high < 0.25 for each in none)


@pytest.mark.parametrize("spread", [2.0, 20.0, 200.0])
def test_shares_are_nearer_to_the_truth_and_intervals_hold_what_they_say(spread: float) -> None:
    rng = np.random.default_rng(0)
    raw_error = shrunk_error = covered = 0.0
    for _ in range(60):
        true = rng.beta(0.4 * spread, 0.6 * spread, 8)
        rows = rng.integers(4, 30, 8)
        right = rng.binomial(rows, true)
        shrunk = shrunk_shares(right.tolist(), rows.tolist())
        raw_error += ((right / rows - true) ** 2).sum()
        shrunk_error += sum((s.mean - t) ** 2 for s, t in zip(shrunk, true, strict=True))
        covered += sum(s.low <= t <= s.high for s, t in zip(shrunk, true, strict=True))
    assert shrunk_error < raw_error
    assert 0.90 <= covered / 480 <= 0.995  # 480 trials: standard deviation 0.01


@pytest.mark.parametrize("spread", [0.02, 0.2, 1.0])
def test_means_intervals_hold_what_they_say(spread: float) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        true = rng.normal(0.2, spread, 6)
        variances = rng.uniform(0.01, 0.1, 6)
        found = shrunk_means(rng.normal(true, np.sqrt(variances)).tolist(), variances.tolist())
        covered += sum(s.low <= t <= s.high for s, t in zip(found, true, strict=True))
    assert covered / 1_800 >= 0.92  # more where the groups are all alike, which cannot be known
