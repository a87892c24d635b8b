from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from luthier.evaluation.statistics.bootstrap import bootstrap_limits
from luthier.evaluation.statistics.paired import mean_score, paired_difference, tango
from luthier.evaluation.statistics.significance import mcnemar


def _constrained_z(won: int, lost: int, rows: int, difference: float) -> float:
    """Tango's statistic with the likelihood maximised numerically, not by his quadratic."""
    tied = rows - won - lost

    def unlikelihood(share_lost: float) -> float:
        cells = [(won, share_lost + difference), (lost, share_lost), (tied, 1 - 2 * share_lost - difference)]
        return -sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    found = optimize.minimize_scalar(unlikelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-13})
    spread = rows * (2 * found.x + difference * (1 - difference))
    return (won - lost - rows * difference) / math.sqrt(max(spread, 1e-300))


@pytest.mark.parametrize(("won", "lost", "rows"), [(12, 2, 50), (9, 1, 25), (3, 8, 40), (30, 25, 120), (6, 0, 30)])
def test_tango_inverts_the_score_test(won: int, lost: int, rows: int) -> None:
    low, high = (float(x) for x in tango(won, lost, rows))
    z = stats.norm.ppf(0.975)
    assert _constrained_z(won, lost, rows, low) == pytest.approx(z, abs=1e-3)
    assert _constrained_z(won, lost, rows, high) == pytest.approx(-z, abs=1e-3)


def test_tango_is_symmetric_and_agrees_with_mcnemar_about_zero() -> None:
    for won in range(15):
        for lost in range(15):
            low, high = (float(x) for x in tango(won, lost, 40))
            mirrored = [-float(x) for x in tango(lost, won, 40)][::-1]
            assert (low, high) == pytest.approx(mirrored, abs=1e-9)
            assert -1 <= low <= (won - lost) / 40 <= high <= 1
            if won + lost:  # McNemar's χ² without continuity correction
                excludes = (won - lost) ** 2 / (won + lost) > stats.chi2.ppf(0.95, 1)
                assert (low > 0 or high < 0) == excludes


@pytest.mark.parametrize("num_rows", [20, 30, 50, 100, 120, 400])
@pytest.mark.parametrize("cells", [(0.35, 0.25, 0.10, 0.30), (0.80, 0.06, 0.04, 0.10), (0.2, 0.3, 0.3, 0.2)])
def test_95_percent_intervals_of_right_and_wrong_cover(num_rows: int, cells: tuple[float, ...]) -> None:
    """2,000 simulations: 93 to 97 % from 100 rows on; for small samples at least not below 93 %."""
    counts = np.random.default_rng(num_rows).multinomial(num_rows, cells, size=2_000)
    true = cells[1] - cells[2]
    low, high = tango(counts[:, 1], counts[:, 2], num_rows)
    covered = ((low <= true + 1e-12) & (true - 1e-12 <= high)).mean()
    assert covered >= 0.93
    if num_rows >= 100:
        assert covered <= 0.97


def test_95_percent_intervals_of_continuous_differences_cover() -> None:
    rng = np.random.default_rng(3)
    shared = rng.beta(2, 2, (2_000, 100))
    differences = np.clip(shared + rng.normal(0.1, 0.2, shared.shape), 0, 1) - shared
    big = rng.beta(2, 2, 4_000_000)
    true = float((np.clip(big + rng.normal(0.1, 0.2, big.shape), 0, 1) - big).mean())
    low, high = bootstrap_limits(differences, num_resamples=1_999)
    assert 0.93 <= ((low <= true) & (true <= high)).mean() <= 0.97


def test_paired_difference_is_near_the_t_interval_for_many_rows() -> None:
    """Bootstrap and Student's t agree where both are good: many rows, no heavy tails."""
    rng = np.random.default_rng(3)
    first, second = rng.uniform(size=400), rng.uniform(size=400) * 0.9
    ours = paired_difference(first, second)
    theirs = stats.ttest_rel(first, second).confidence_interval(0.95)
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(np.mean(first) - np.mean(second))
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_pairing_is_used() -> None:
    """The same difference in every row but a few: narrow, though the scores themselves vary widely."""
    rng = np.random.default_rng(0)
    second = rng.uniform(0, 0.8, size=100)
    first = second + 0.1
    first[:3] += 0.01
    paired = paired_difference(first, second)
    assert paired.high - paired.low < 0.01
    assert paired.low > 0.09


def test_repeats_with_the_same_seed() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(size=60), rng.uniform(size=60)
    assert paired_difference(first, second, seed=5) == paired_difference(first, second, seed=5)
    swapped = paired_difference(second, first, seed=5)
    assert swapped.mean == -paired_difference(first, second, seed=5).mean


def test_no_difference_anywhere_is_not_certainty() -> None:
    n = 30
    unseen = stats.binomtest(0, n).proportion_ci(0.95, method="exact").high
    assert paired_difference([1.0] * n, [1.0] * n) == pytest.approx((0.0, -unseen, unseen))
    all_better = paired_difference([1.0] * n, [0.0] * n)
    assert all_better == pytest.approx((1.0, 1 - 2 * unseen, 1.0))


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0], [0.0]), ([1.0, 0.0], [0.0, 0.0]), ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]), ([1.0] + [0.0] * 119, [0.0] * 120),
     ([0.5, 0.25, 1.0], [0.0, 0.5, 1.0])],
)  # fmt: skip
def test_tiny_and_lopsided_samples_give_finite_ordered_limits(first: list[float], second: list[float]) -> None:
    interval = paired_difference(first, second)
    assert all(math.isfinite(x) for x in interval)
    assert -1 <= interval.low <= interval.mean <= interval.high <= 1


def test_unequal_or_no_rows_are_refused() -> None:
    for first, second in (([1.0], [1.0, 0.0]), ([], [])):
        with pytest.raises(ValueError, match="the same rows"):
            paired_difference(first, second)
    with pytest.raises(ValueError, match="no scores"):
        mean_score([])


def test_mean_score_takes_weights() -> None:
    assert mean_score([1.0, 3.0], weights=[3.0, 1.0]).mean == 1.5
    assert mean_score([2.0, 2.0], weights=[3.0, 1.0]) == (2.0, 2.0, 2.0)


def test_interval_and_p_value_seldom_disagree() -> None:
    """Mid-p and the score interval are different approximations: they part only near the border."""
    for won in range(25):
        for lost in range(25):
            low, high = (float(x) for x in tango(won, lost, 100))
            p = mcnemar(won, lost, mid_p=True)
            if not 0.02 < p < 0.08:
                assert (low > 0 or high < 0) == (p < 0.05)
