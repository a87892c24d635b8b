"""How surprising a difference would be if there were none: p-values of paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from luthier.evaluation.statistics.paired import are_binary, differences_of

MOST_ENUMERATED_ROWS = 13
"""With so many rows that differ, all ways to swap sides are gone through (2¹³); with more, a sample of them."""
NUM_PERMUTATIONS = 9_999
_SIGNS_AT_ONCE = 4_000_000
_SAME = 1e-12

TestName = Literal["McNemar (mid-p)", "permutation"]


class Significance(NamedTuple):
    """A p-value, two-sided, and the test that gave it."""

    p_value: float
    test: TestName


def paired_test(
    first: Sequence[float], second: Sequence[float], *, weights: Sequence[float] | None = None, seed: int = 0
) -> Significance:
    """The test that fits: McNemar's for right and wrong, else a permutation of the sides, row by row."""
    differences = differences_of(first, second)
    if weights is None and are_binary(first, second):
        won, lost = int((differences > 0).sum()), int((differences < 0).sum())
        return Significance(mcnemar(won, lost, mid_p=True), "McNemar (mid-p)")
    weighted = differences if weights is None else differences * np.asarray(weights)
    return Significance(permutation_test(weighted, seed=seed), "permutation")


def mcnemar(num_won: int, num_lost: int, *, mid_p: bool = False) -> float:
    """McNemar's test from the rows on which the two differ: under no difference either side wins each with 1/2.

    Args:
        num_won: Rows that only the first has right.
        num_lost: Rows that only the second has right.
        mid_p: Count what was seen itself by half (Fagerland, Lydersen and Laake 2013): the exact test is too cautious.
    """
    rows, least = num_won + num_lost, min(num_won, num_lost)
    if rows == 0:
        return 1.0
    as_extreme = float(stats.binom.cdf(least, rows, 0.5))
    seen = float(stats.binom.pmf(least, rows, 0.5))
    if num_won == num_lost:
        return 1.0 - seen if mid_p else 1.0
    return 2 * as_extreme - seen if mid_p else min(1.0, 2 * as_extreme)


def permutation_test(
    differences: Sequence[float] | NDArray[np.float64], *, num_permutations: int = NUM_PERMUTATIONS, seed: int = 0
) -> float:
    """Two-sided p-value of the mean difference: if the sides are alike, each row's difference might as well have the other
    sign. Exact up to `MOST_ENUMERATED_ROWS` rows that differ, else by random signs (what was seen counts as one of them).
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[values != 0]
    if not len(values):
        return 1.0
    least = abs(values.sum()) - _SAME * np.abs(values).sum()
    if len(values) <= MOST_ENUMERATED_ROWS:
        bits = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((np.abs((2 * bits - 1) @ values) >= least).mean())
    rng = np.random.default_rng(seed)
    step = max(1, _SIGNS_AT_ONCE // len(values))
    hits = 0
    for start in range(0, num_permutations, step):
        signs = 2 * rng.integers(0, 2, (min(step, num_permutations - start), len(values)), dtype=np.int8) - 1
        hits += int((np.abs(signs @ values) >= least).sum())
    return (hits + 1) / (num_permutations + 1)
