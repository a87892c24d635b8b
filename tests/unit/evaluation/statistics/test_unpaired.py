"""Against the examples of Newcombe (1998), table II, method 10, and by simulation."""

import numpy as np
import pytest

from luthier.evaluation.statistics.unpaired import newcombe


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 10, 0.6075, 1.0),
    ],
)
def test_published_limits(a, m, b, n, low, high):
    interval = newcombe(a, m, b, n)
    assert interval.mean == pytest.approx(a / m - b / n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_coverage():
    rng = np.random.default_rng(0)
    for p, q, m, n in ((0.1, 0.05, 60, 60), (0.5, 0.3, 40, 60), (0.02, 0.02, 60, 60)):
        limits = [
            newcombe(int(x), m, int(y), n)
            for x, y in zip(rng.binomial(m, p, 2000), rng.binomial(n, q, 2000), strict=True)
        ]
        covered = np.mean([each.low <= p - q <= each.high for each in limits])
        assert covered >= 0.935
