from __future__ import annotations

import pytest
from scipy import stats

from luthier.evaluation.statistics.intervals import interval_of_equal_values, wilson


@pytest.mark.parametrize(("right", "rows"), [(0, 10), (10, 10), (3, 10), (65, 120), (1, 1), (119, 120)])
def test_wilson_equals_scipy(right: int, rows: int) -> None:
    expected = stats.binomtest(right, rows).proportion_ci(confidence_level=0.95, method="wilson")
    interval = wilson(right, rows)
    assert interval.mean == right / rows
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)


def test_equal_values_are_not_certainty() -> None:
    """Clopper-Pearson for nothing seen in n rows is the closed form that scipy has too."""
    unseen = stats.binomtest(0, 30).proportion_ci(0.95, method="exact").high
    found = interval_of_equal_values(0.5, 30, lowest=0.0, highest=1.0)
    assert found == pytest.approx((0.5, 0.5 - unseen / 2, 0.5 + unseen / 2))
