from __future__ import annotations

import itertools

import pytest

from luthier.evaluation.protocol import Score
from luthier.evaluation.samples import combined, pass_at_k


def test_pass_at_k_is_the_share_of_draws_with_a_right_one() -> None:
    """By going through all ways to draw k of n."""
    for n, c, k in [(5, 2, 1), (5, 2, 3), (6, 1, 2), (4, 0, 2), (4, 4, 4), (10, 3, 5)]:
        draws = list(itertools.combinations([1] * c + [0] * (n - c), k))
        assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))
    with pytest.raises(ValueError, match="pass@3 cannot be told from 2 samples"):
        pass_at_k(2, 1, 3)


def test_combined() -> None:
    scores = [
        Score(1.0, "good", "a", {"m": 1.0}),
        Score(0.0, "bad", "b", {"m": 0.5, "n": 1.0}),
        Score(0.0, "bad", "c", {"m": 0.0}),
    ]
    found = combined(scores, (1, 2))
    assert found.value == pytest.approx(1 / 3)
    assert found.found == "a"
    assert found.measures == pytest.approx({"m": 0.5, "pass@1": 1 / 3, "pass@2": 2 / 3})
    assert found.why == "1 of 3 samples are right; the first: good"
    assert combined(scores[:1]) is scores[0]
