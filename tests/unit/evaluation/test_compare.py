from __future__ import annotations

import numpy as np
import pytest

from luthier.evaluation.compare import compare, verdict
from luthier.evaluation.statistics.bootstrap import bootstrap_limits
from luthier.evaluation.statistics.intervals import Interval, wilson
from luthier.evaluation.statistics.paired import mean_score, tango


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


def test_less_can_be_better() -> None:
    assert verdict(Interval(-0.2, -0.3, -0.1), 100, lower_is_better=True) == "better"
    assert verdict(Interval(0.2, 0.1, 0.3), 100, lower_is_better=True) == "worse"
    rng = np.random.default_rng(0)
    base = rng.uniform(1.0, 2.0, 60)
    weights = rng.integers(10, 500, 60).astype(float)
    found = compare(base - 0.1, base, weights=weights.tolist(), lower_is_better=True, is_share=False)
    assert found.verdict == "better"
    noise = rng.normal(0, 0.05, 60)
    found = compare(base - 0.1 + noise, base, weights=weights.tolist(), lower_is_better=True, is_share=False)
    assert found.difference.mean == pytest.approx(float((weights * (noise - 0.1)).sum() / weights.sum()))
    assert found.verdict == "better"
    assert " points" not in found.sentence()


def test_the_test_is_named_and_two_sided() -> None:
    won = compare([1.0] * 10 + [0.0] * 30, [0.0] * 10 + [1.0] * 2 + [0.0] * 28)
    assert won.test == "McNemar (mid-p)"
    assert won.p_value == pytest.approx(0.0224609375)  # 2 · P(X ≤ 2) − P(X = 2), X binomial(12, 1/2)
    assert compare([0.5] * 30, [0.25] * 30).test == "permutation"


def test_base_against_base_is_seldom_called_different() -> None:
    """The model against itself, drawn twice: 2,000 times 120 rows; better or worse in at most 6.5 %."""
    rng = np.random.default_rng(11)
    chance = rng.beta(1, 1, (2_000, 120))  # how likely the model is right, row by row
    first, second = (rng.uniform(size=chance.shape) < chance for _ in range(2))
    won, lost = (first & ~second).sum(axis=1), (second & ~first).sum(axis=1)
    low, high = tango(won, lost, 120)
    assert ((low > 0) | (high < 0)).mean() <= 0.065
    # The same rows through `compare`: what stands above is what it says.
    for row in range(40):
        said = compare(first[row].astype(float).tolist(), second[row].astype(float).tolist()).verdict
        assert (said in ("better", "worse")) == bool(low[row] > 0 or high[row] < 0)


def test_base_against_base_with_scores_between_0_and_1() -> None:
    rng = np.random.default_rng(12)
    chance = rng.beta(2, 2, (2_000, 120))
    first, second = (rng.beta(5 * chance + 0.1, 5 * (1 - chance) + 0.1) for _ in range(2))
    low, high = bootstrap_limits(first - second, num_resamples=1_999)
    assert ((low > 0) | (high < 0)).mean() <= 0.065
