from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from luthier.evaluation.statistics.multiple import benjamini_hochberg, holm

P_VALUES = [0.01, 0.04, 0.03, 0.005]


def test_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, never falling.
    assert holm(P_VALUES) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # Times 4/1, 4/2, 4/3, 4/4, never rising from the end.
    assert benjamini_hochberg(P_VALUES) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == benjamini_hochberg([0.2]) == [0.2]


def test_equals_scipy_and_statsmodels() -> None:
    values = np.random.default_rng(0).uniform(size=25) ** 3
    assert benjamini_hochberg(values.tolist()) == pytest.approx(stats.false_discovery_control(values))
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    assert holm(values.tolist()) == pytest.approx(multitest.multipletests(values, method="holm")[1])


def test_holm_keeps_the_chance_of_any_false_claim() -> None:
    rng = np.random.default_rng(0)
    false = sum(min(holm(rng.uniform(size=20).tolist())) <= 0.05 for _ in range(2_000))
    assert false <= 0.065 * 2_000
