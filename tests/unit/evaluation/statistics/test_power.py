from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from luthier.evaluation.statistics.power import detectable_difference, rows_needed, rows_needed_binary
from luthier.evaluation.statistics.significance import mcnemar


def test_rows_needed_gives_the_power_it_promises() -> None:
    difference, deviation = 0.15, math.sqrt(0.25 + 0.10 - 0.15**2)
    n = rows_needed(difference, deviation)
    power = stats.norm.cdf(difference * math.sqrt(n) / deviation - stats.norm.ppf(0.975))
    assert power == pytest.approx(0.8, abs=0.01)
    assert n == 115  # ((1.95996 + 0.84162)² · 0.3275 / 0.0225)
    assert rows_needed(0.5, 0.0) == 20
    with pytest.raises(ValueError, match="above 0"):
        rows_needed(0.0, 1.0)


def test_rows_needed_equals_statsmodels() -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    theirs = power.zt_ind_solve_power(effect_size=0.15 / 0.6, alpha=0.05, power=0.8, ratio=0)
    assert rows_needed(0.15, 0.6) == math.ceil(theirs)


def test_rows_needed_for_right_and_wrong_by_hand() -> None:
    # (1.959964 · √0.35 + 0.841621 · √(0.35 − 0.0225))² / 0.0225 = (1.159532 + 0.481641)² / 0.0225 = 119.7
    assert rows_needed_binary(0.15, 0.35) == 120
    for difference, discordance in ((0.0, 0.3), (0.4, 0.3), (0.2, 1.2)):
        with pytest.raises(ValueError, match="at most"):
            rows_needed_binary(difference, discordance)


def test_power_of_mcnemars_test_in_simulation() -> None:
    n = rows_needed_binary(0.15, 0.35)
    counts = np.random.default_rng(0).multinomial(n, [0.25, 0.10, 0.65], size=4_000)
    pairs, frequency = np.unique(counts[:, :2], axis=0, return_counts=True)
    seen = sum(
        f for (won, lost), f in zip(pairs, frequency, strict=True) if mcnemar(int(won), int(lost), mid_p=True) < 0.05
    )
    assert seen / 4_000 == pytest.approx(0.8, abs=0.03)


def test_detectable_difference_is_the_inverse() -> None:
    for num_rows in (50, 120, 1_000):
        least = detectable_difference(num_rows, 0.3)
        assert least is not None
        assert rows_needed_binary(least, 0.3) in (num_rows, num_rows + 1)
    assert detectable_difference(5, 0.05) is None  # all five would have to differ in one direction, and 5 % do
