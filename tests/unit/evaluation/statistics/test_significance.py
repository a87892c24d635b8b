from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.evaluation.statistics.significance import mcnemar, paired_test, permutation_test


def test_mcnemar_equals_statsmodels() -> None:
    contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
    for won, lost in ((10, 2), (5, 5), (0, 7), (1, 0), (40, 25)):
        theirs = contingency.mcnemar([[20, won], [lost, 20]], exact=True).pvalue
        assert mcnemar(won, lost) == pytest.approx(theirs)


def test_mcnemar_equals_scipys_binomial_test_and_mid_p_its_definition() -> None:
    for won, lost in ((10, 2), (0, 7), (40, 25), (3, 4)):
        n, least = won + lost, min(won, lost)
        assert mcnemar(won, lost) == pytest.approx(stats.binomtest(won, n).pvalue)
        below = sum(stats.binom.pmf(k, n, 0.5) for k in range(least))
        assert mcnemar(won, lost, mid_p=True) == pytest.approx(2 * (below + stats.binom.pmf(least, n, 0.5) / 2))
    # Equal sides: all outcomes are as extreme, less what was seen itself, which counts by half on both sides.
    assert mcnemar(5, 5, mid_p=True) == pytest.approx(1 - stats.binom.pmf(5, 10, 0.5))
    assert mcnemar(5, 5) == mcnemar(0, 0) == mcnemar(0, 0, mid_p=True) == 1.0


def test_permutation_test_equals_scipy() -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(0.4, 1, 9)
    exact = stats.permutation_test((few,), np.sum, permutation_type="samples", n_resamples=10_000).pvalue
    assert permutation_test(few) == pytest.approx(exact)
    many = rng.normal(0.15, 1, 80)
    drawn = stats.permutation_test(
        (many,), np.sum, permutation_type="samples", n_resamples=9_999, rng=np.random.default_rng(1)
    ).pvalue
    assert permutation_test(many) == pytest.approx(drawn, abs=0.015)


def test_rows_without_a_difference_do_not_count() -> None:
    assert permutation_test([0.0] * 50) == 1.0
    assert permutation_test([0.0] * 50 + [0.5, 0.5, 0.5]) == permutation_test([0.5] * 3) == 0.25


def test_permutation_test_holds_its_level() -> None:
    rng = np.random.default_rng(7)
    below = sum(permutation_test(rng.normal(size=30), num_permutations=199, seed=i) <= 0.05 for i in range(1_000))
    assert 30 <= below <= 70  # 50 expected, standard deviation 7


def test_the_test_that_fits_is_chosen() -> None:
    assert paired_test([1.0, 0.0], [0.0, 0.0]).test == "McNemar (mid-p)"
    assert paired_test([1.0, 0.5], [0.0, 0.0]).test == "permutation"
    assert paired_test([1.0, 0.0], [0.0, 0.0], weights=[2.0, 1.0]).test == "permutation"
