from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from luthier.evaluation.compare import Interval, compare, mean_score, paired_difference, rows_needed, verdict, wilson


@pytest.mark.parametrize(("right", "rows"), [(0, 10), (10, 10), (3, 10), (65, 120), (1, 1), (119, 120)])
def test_wilson_equals_scipy(right: int, rows: int) -> None:
    expected = stats.binomtest(right, rows).proportion_ci(confidence_level=0.95, method="wilson")
    interval = wilson(right, rows)
    assert interval.mean == right / rows
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)


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
    first, second = rng.integers(0, 2, 60).astype(float), rng.integers(0, 2, 60).astype(float)
    assert paired_difference(first, second, seed=5) == paired_difference(first, second, seed=5)
    swapped = paired_difference(second, first, seed=5)
    assert swapped.mean == -paired_difference(first, second, seed=5).mean


def test_no_difference_anywhere_is_not_certainty() -> None:
    """Clopper-Pearson for nothing seen in n rows is the closed form that scipy has too."""
    n = 30
    unseen = stats.binomtest(0, n).proportion_ci(0.95, method="exact").high
    assert paired_difference([1.0] * n, [1.0] * n) == pytest.approx((0.0, -unseen, unseen))
    all_better = paired_difference([1.0] * n, [0.0] * n)
    assert all_better == pytest.approx((1.0, 1 - 2 * unseen, 1.0))


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0], [0.0]), ([1.0, 0.0], [0.0, 0.0]), ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0]), ([1.0] + [0.0] * 119, [0.0] * 120)],
)
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


def _coverage(num_simulations: int, num_resamples: int) -> float:
    """Share of 95 % intervals that hold the true difference, for answers right with 0.6 and 0.45 and correlated."""
    rng = np.random.default_rng(1)
    # P(both right) = 0.35: first 0.6, second 0.45, true difference 0.15.
    cells = [0.35, 0.25, 0.10, 0.30]
    outcomes = np.array([(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
    held = 0
    for _ in range(num_simulations):
        drawn = outcomes[rng.choice(4, size=120, p=cells)]
        interval = paired_difference(drawn[:, 0], drawn[:, 1], num_resamples=num_resamples, seed=0)
        held += interval.low <= 0.15 <= interval.high
    return held / num_simulations


def test_coverage_of_the_interval() -> None:
    # 150 simulations of a true 95 %: outside 0.89…1.0 with probability below 0.002.
    assert 0.89 <= _coverage(150, 499) <= 1.0


@pytest.mark.slow
def test_coverage_of_the_interval_closely() -> None:
    # 2,000 simulations: standard error 0.005.
    assert 0.935 <= _coverage(2_000, 1_999) <= 0.965


def test_rows_needed_gives_the_power_it_promises() -> None:
    difference, deviation = 0.15, math.sqrt(0.25 + 0.10 - 0.15**2)  # the cells of `_coverage`
    n = rows_needed(difference, deviation)
    power = stats.norm.cdf(difference * math.sqrt(n) / deviation - stats.norm.ppf(0.975))
    assert power == pytest.approx(0.8, abs=0.01)
    assert n == 115  # ((1.95996 + 0.84162)² · 0.3275 / 0.0225)
    assert rows_needed(0.5, 0.0) == 20
    with pytest.raises(ValueError, match="above 0"):
        rows_needed(0.0, 1.0)


@pytest.mark.parametrize(
    ("interval", "rows", "word"),
    [
        (Interval(0.2, 0.1, 0.3), 100, "better"),
        (Interval(-0.2, -0.3, -0.1), 100, "worse"),
        (Interval(0.1, 0.0, 0.2), 100, "no evidence"),
        (Interval(0.1, -0.1, 0.3), 100, "no evidence"),
        (Interval(0.9, 0.8, 1.0), 19, "too few rows"),
    ],
)
def test_verdict(interval: Interval, rows: int, word: str) -> None:
    assert verdict(interval, rows) == word


def test_comparison_in_words() -> None:
    better = compare([1.0] * 60 + [0.0] * 40, [0.0] * 100, names=("tuned", "base"))
    assert better.verdict == "better"
    low, high = wilson(60, 100)[1:]  # all differences are 0 or 1, so the interval of a proportion is a close guess
    assert better.difference.low == pytest.approx(low, abs=0.02)
    assert better.difference.high == pytest.approx(high, abs=0.02)
    assert better.sentence().startswith("tuned − base: +60.0 points (95 % interval +")
    assert better.sentence().endswith("tuned is better.")
    unclear = compare([1.0, 0.0] * 50, [0.0, 1.0] * 49 + [0.0, 0.0])
    assert unclear.verdict == "no evidence"
    assert unclear.rows_needed is not None
    assert f"about {unclear.rows_needed} rows" in unclear.sentence()
    equal = compare([1.0] * 50, [1.0] * 50)
    assert equal.rows_needed is None
    assert "no evidence" in equal.sentence()
    few = compare([1.0] * 5, [0.0] * 5)
    assert "too few rows" in few.sentence()


def test_mean_score_of_zeros_and_ones_is_wilson_and_of_fractions_bootstrap() -> None:
    assert mean_score([1.0, 0.0, 1.0, 1.0]) == wilson(3, 4)
    fractions = mean_score(list(np.linspace(0.2, 0.8, 50)))
    assert fractions.mean == pytest.approx(0.5)
    assert 0.4 < fractions.low < 0.5 < fractions.high < 0.6
    assert mean_score([0.5] * 10).low < 0.5 < mean_score([0.5] * 10).high
