"""Cohen's kappa against statsmodels, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from luthier.evaluation.judge.agreement import agreement


def test_by_hand() -> None:
    # 20 rows both say yes, 15 both no, 10 + 5 differ: p_o = 0.7, p_e = 0.6 · 0.5 + 0.4 · 0.5 = 0.5, kappa = 0.4.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = agreement(first, second, ["yes", "no"])
    assert found.kappa is not None
    assert found.kappa.mean == pytest.approx(0.4)
    assert (found.share_equal, found.num_rows) == (pytest.approx(0.7), 50)
    assert found.sentence("gpt", "you").startswith("gpt says the same as you on 70 % of 50 rows")


@pytest.mark.parametrize("quadratic", [False, True])
def test_it_equals_statsmodels(quadratic: bool) -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 5, 300)
    second = np.clip(first + rng.integers(-1, 2, 300), 0, 4)
    found = agreement(first.tolist(), second.tolist(), range(5), quadratic=quadratic)
    table = np.zeros((5, 5))
    np.add.at(table, (first, second), 1)
    theirs: Any = cohens_kappa(table, wt="fc" if quadratic else None)
    assert found.kappa is not None
    assert found.kappa.mean == pytest.approx(theirs.kappa)
    assert (found.kappa.low, found.kappa.high) == (pytest.approx(theirs.kappa_low), pytest.approx(theirs.kappa_upp))


def test_chance_is_zero_and_one_category_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    found = agreement(rng.integers(0, 3, 3000).tolist(), rng.integers(0, 3, 3000).tolist(), range(3))
    assert found.kappa is not None
    assert abs(found.kappa.mean) < 0.05
    alike = agreement(["tie"] * 5, ["tie"] * 5, ["win", "tie"])
    assert (alike.kappa, alike.share_equal) == (None, 1.0)
    assert "cannot be told" in alike.sentence("a", "b")
    with pytest.raises(ValueError, match="same rows"):
        agreement(["a"], [], ["a"])
