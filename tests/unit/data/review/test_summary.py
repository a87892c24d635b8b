"""What a reviewed sample says of the whole file."""

from __future__ import annotations

import random

import pytest
from scipy.stats import binomtest

from luthier.data.review.summary import summarise, weighted_wilson


@pytest.mark.parametrize(("count", "num"), [(0, 10), (1, 80), (7, 80), (40, 80), (80, 80)])
def test_with_equal_weights_it_is_wilsons_interval(count, num):
    low, high = weighted_wilson(count / num, num)
    expected = binomtest(count, num).proportion_ci(0.95, "wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_rows_count_for_the_rows_that_they_stand_for():
    # 10 of 100 rows have a finding, and half of the sample is taken from them: 4 of 5 are bad there, 1 of 5 elsewhere.
    decided = [("html", "drop")] * 4 + [("html", "keep")] + [("no finding", "drop")] + [("no finding", "keep")] * 4
    found = summarise(100, {"html": 10, "no finding": 90}, decided, 10)
    assert found.to_drop is not None
    assert found.to_drop.share == pytest.approx((8 + 18) / 100)  # not 5 of 10
    effective = (5 * 2 + 5 * 18) ** 2 / (5 * 2**2 + 5 * 18**2)
    z, p = 1.959963984540054, 0.26
    reach = z * (p * (1 - p) / effective + z * z / (4 * effective**2)) ** 0.5
    centre = p + z * z / (2 * effective)
    assert found.to_drop.high == pytest.approx((centre + reach) / (1 + z * z / effective))
    assert (found.to_drop.num_rows, found.counts) == (26, {"keep": 5, "drop": 5, "fix": 0})


def test_what_was_seen_bounds_the_estimate():
    whole = summarise(4, {"no finding": 4}, [("no finding", d) for d in ("drop", "keep", "keep", "fix")], 4)
    assert whole.to_drop is not None
    assert whole.bad is not None
    assert (whole.to_drop.low_rows, whole.to_drop.num_rows, whole.to_drop.high_rows) == (1, 1, 1)
    assert (whole.bad.low_rows, whole.bad.num_rows, whole.bad.high_rows) == (2, 2, 2)
    few = summarise(1000, {"no finding": 1000}, [("no finding", "keep")] * 50, 50)
    assert few.to_drop is not None
    assert few.to_drop.low_rows == 0
    assert 60 < few.to_drop.high_rows < 80  # Wilson: up to 7.1 % where none of 50 is bad
    assert "Expect about 0 (0 to 72; 0.0 to 7.1 %)" in few.sentence


def test_nothing_is_said_before_anything_is_decided():
    nothing = summarise(10, {"no finding": 10}, [], 5)
    assert nothing.to_drop is None
    assert nothing.sentence == "No row of 5 is decided yet."


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = random.Random(0)
    bad_shares = {"html": (200, 0.5), "no finding": (1800, 0.05)}
    truth, covered, runs = (100 + 90) / 2000, 0, 300
    for _ in range(runs):
        decided = []
        for stratum, (size, share) in bad_shares.items():
            rows = [True] * round(size * share) + [False] * round(size * (1 - share))
            decided += [(stratum, "drop" if bad else "keep") for bad in generator.sample(rows, 40)]
        found = summarise(2000, {name: size for name, (size, _) in bad_shares.items()}, decided, 80).to_drop
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.9 <= covered / runs <= 1
