"""Curves in one line."""

from __future__ import annotations

from luthier.cli.sparkline import sparkline


def test_eight_heights_from_low_to_high() -> None:
    assert sparkline(range(8), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([3, 1, 2], 8, low=0, high=8) == "▄▂▃"
    assert sparkline([9, -5], 8, low=0, high=8) == "█▁"


def test_long_curves_are_means_and_flat_ones_lie_low() -> None:
    assert sparkline([0, 2, 4, 6], 2) == "▁█"
    assert sparkline([5.0, 5.0], 9) == "▁▁"
    assert sparkline([], 9) == ""


def test_ascii_where_there_are_no_blocks() -> None:
    assert sparkline([0, 1], 9, encoding="ascii") == "_@"
