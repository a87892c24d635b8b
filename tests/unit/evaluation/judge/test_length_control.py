"""Length-controlled win rates against statsmodels, and on simulated judges whose love of length is known."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from luthier.evaluation.judge.length_control import length_controlled


def simulated(theta: float, phi: float, num_rows: int, seed: int, longer_by: float = 120) -> tuple[list, list, list]:
    """A judge that prefers the first answer with log odds θ + φ tanh(Δ / sd Δ); the first is longer by so much on average."""
    rng = np.random.default_rng(seed)
    second = rng.integers(80, 400, num_rows)
    first = np.maximum(1, second + rng.normal(longer_by, 150, num_rows).round().astype(int))
    difference = first - second
    chance = 1 / (1 + np.exp(-(theta + phi * np.tanh(difference / difference.std()))))
    return (rng.random(num_rows) < chance).astype(float).tolist(), first.tolist(), second.tolist()


def test_a_known_preference_for_length_is_taken_out() -> None:
    points, first, second = simulated(theta=-0.4, phi=2.0, num_rows=6000, seed=1)
    found = length_controlled(points, first, second, num_resamples=199)
    assert found is not None
    assert np.mean(points) > 0.6  # the judge seems to prefer the first
    assert found.win_rate.mean == pytest.approx(1 / (1 + np.exp(0.4)), abs=0.03)  # it does not
    assert found.win_rate.high < 0.5
    assert found.length_effect == pytest.approx(2.0, abs=0.15)
    assert found.length_ratio == pytest.approx(sum(first) / sum(second))


def test_it_equals_the_regression_of_statsmodels_with_ties_as_halves() -> None:
    points, first, second = simulated(0.3, 0.8, 4000, seed=2)
    points = [0.5 if i % 7 == 0 else p for i, p in enumerate(points)]
    difference = np.subtract(first, second).astype(float)
    x = sm.add_constant(np.tanh(difference / difference.std()))
    theirs = sm.GLM(points, x, family=sm.families.Binomial()).fit().params
    ours = length_controlled(points, first, second, num_resamples=9)
    assert ours is not None
    # The weak prior moves it by less than this.
    assert ours.win_rate.mean == pytest.approx(1 / (1 + np.exp(-theirs[0])), abs=2e-4)
    assert ours.length_effect == pytest.approx(theirs[1], abs=2e-3)


def test_the_interval_covers_what_is_true() -> None:
    truth = 1 / (1 + np.exp(-0.3))
    covered = 0
    for seed in range(200):
        found = length_controlled(*simulated(0.3, 1.0, 200, seed), num_resamples=199)
        assert found is not None
        covered += found.win_rate.low <= truth <= found.win_rate.high
    assert 0.91 <= covered / 200 <= 0.98


def test_winning_every_row_stays_finite() -> None:
    found = length_controlled([1.0] * 40, list(range(100, 140)), [90] * 40, num_resamples=99)
    assert found is not None
    assert 0.9 < found.win_rate.mean < 1
    assert found.win_rate.low <= found.win_rate.mean <= found.win_rate.high


@pytest.mark.parametrize("second", [[5, 6, 7], [3, 4, 5]])
def test_lengths_that_always_differ_alike_tell_nothing(second: list[int]) -> None:
    assert length_controlled([1.0, 0.0, 0.5], [5, 6, 7], second) is None
