from __future__ import annotations

import pytest

from luthier.evaluation.slices import slice_differences, slice_means
from luthier.evaluation.statistics.shrinkage import shrunk_means, shrunk_shares

SLICES = [{"kind": "a"}] * 6 + [{"kind": "b"}] * 4


def test_right_and_wrong() -> None:
    found = slice_means(SLICES, [1.0] * 5 + [0.0] + [0.0] * 3 + [1.0])["kind"]
    assert {group: (entry["mean"], entry["num_rows"]) for group, entry in found.items()} == {
        "a": (5 / 6, 6),
        "b": (0.25, 4),
    }
    expected = shrunk_shares([5, 1], [6, 4])
    assert [(e["shrunk"], e["low"], e["high"]) for e in found.values()] == [tuple(e) for e in expected]


def test_differences_use_the_spread_that_groups_share() -> None:
    values = [0.5, 0.1, 0.3, 0.3, 0.2, 0.4, -0.1, 0.1, 0.0, 0.0]
    found = slice_differences(SLICES, values)["kind"]
    # Squares about the group means: 0.04 + 0.04 + 0 + 0 + 0.01 + 0.01 and 0.01 + 0.01; 8 degrees of freedom.
    pooled = 0.12 / 8
    expected = shrunk_means([0.3, 0.0], [pooled / 6, pooled / 4])
    assert [e["shrunk"] for e in found.values()] == pytest.approx([e.mean for e in expected])
    assert 0 < found["b"]["shrunk"] < found["a"]["shrunk"] < 0.3


def test_weights_and_rows_without_the_slice() -> None:
    found = slice_means([{"kind": "a"}, {"kind": "a"}, {}], [1.0, 4.0, 9.0], [3.0, 1.0, 1.0])["kind"]
    assert found["a"]["mean"] == 1.75
    assert found["a"]["num_rows"] == 2


def test_no_spread_at_all_is_not_certainty() -> None:
    found = slice_differences(SLICES, [0.0] * 10)["kind"]
    assert all(entry["low"] < 0 < entry["high"] for entry in found.values())


def test_equal_scores_that_are_no_round_numbers_have_no_spread_either() -> None:
    groups = slice_means([{"k": "a"}, {"k": "a"}, {"k": "b"}] * 5, [4 / 9] * 15)["k"]
    assert all(entry["low"] < entry["shrunk"] < entry["high"] for entry in groups.values())
    assert groups["a"]["shrunk"] == pytest.approx(4 / 9)
