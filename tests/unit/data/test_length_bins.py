"""Bins of a histogram of lengths: round, few, complete."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.length_bins import MOST_BINS, length_histogram


@pytest.mark.parametrize(
    ("lengths", "edges"),
    [
        ([], []),
        ([7], [7]),
        ([20, 113], [20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]),
        ([100, 1500], [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500]),
        ([50, 2000], [64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048]),
        ([1, 40_000], [2**e for e in range(17)]),
    ],
)
def test_edges(lengths: list[int], edges: list[int]) -> None:
    assert [most for most, _ in length_histogram(np.array(lengths, np.int64))] == edges


def test_a_length_on_an_edge_belongs_below_it() -> None:
    assert length_histogram(np.array([20, 30, 31, 113]))[:3] == ((20, 1), (30, 1), (40, 1))


@given(st.lists(st.integers(1, 2**17), min_size=1, max_size=50))
def test_every_length_is_counted_once_in_its_bin(lengths: list[int]) -> None:
    bins = length_histogram(np.array(lengths))
    edges = [most for most, _ in bins]
    assert edges == sorted(set(edges))
    assert len(bins) <= MOST_BINS + 2
    below = 0
    for most, count in bins:
        assert count == sum(below < length <= most for length in lengths)
        below = most
    assert bins[0].num_examples
    assert bins[-1].num_examples
    assert sum(count for _, count in bins) == len(lengths)
