from __future__ import annotations

import pytest
from scipy import stats

from luthier.evaluation.statistics.seeds import seed_spread


def test_spread_by_hand_and_by_scipy() -> None:
    found = seed_spread([0.6, 0.7, 0.8])
    assert (found.mean, found.deviation) == pytest.approx((0.7, 0.1))
    expected = stats.ttest_1samp([0.6, 0.7, 0.8], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.sentence().startswith("3 runs: mean 70.0 points, 10.0 points from seed to seed")


def test_one_run_has_no_spread() -> None:
    with pytest.raises(ValueError, match="at least two"):
        seed_spread([0.5])
