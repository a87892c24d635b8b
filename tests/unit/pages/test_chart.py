from __future__ import annotations

import itertools

import pytest

from luthier.pages.report.chart import Series, histogram, line_chart, nice_ticks, score_bar, thinned


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0, 0.5, 1.0]),
        (0.12, 2.4, [0, 1, 2, 3]),
        (0.0, 0.0002, [0, 0.00005, 0.0001, 0.00015, 0.0002]),
        (-3.0, 5.0, [-4, -2, 0, 2, 4, 6]),
        (2.0, 2.0, [1.8, 1.9, 2.0, 2.1, 2.2]),
    ],
)
def test_ticks_are_round_and_enclose_the_range(low: float, high: float, expected: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(expected)


def test_points_lie_where_their_values_say() -> None:
    chart = line_chart("Loss", [Series("training", "train", [(0, 2.0), (5, 1.0), (10, 0.0)])])
    assert chart is not None
    assert [mark[:2] for mark in chart.lines[0].marks] == [(0, 0), (50, 50), (100, 100)]
    assert chart.lines[0].marks[1][2] == "step 5: 1"
    assert chart.lines[0].path == "M0.0 0.0 L500.0 500.0 L1000.0 1000.0"
    assert chart.description == "Loss by step. training: 2 at step 0, 0 at step 10, between 0 and 2."


def test_one_point_is_drawn_as_a_dot_in_the_middle() -> None:
    chart = line_chart("Loss", [Series("validation", "validation", [(7, 1.5)])])
    assert chart is not None
    assert chart.lines[0].dots
    assert chart.lines[0].marks[0][0] == 50


def test_no_finite_value_no_chart() -> None:
    assert line_chart("Loss", [Series("training", "train", [(1, float("nan"))])]) is None
    assert line_chart("Loss", [Series("training", "train", [])]) is None


def test_thinning_keeps_the_mean() -> None:
    points = [(float(i), float(i % 7)) for i in range(1000)]
    thin = thinned(points, most=100)
    assert len(thin) == 100
    assert sum(y for _, y in thin) / 100 == pytest.approx(sum(y for _, y in points) / 1000)
    assert thinned(points[:50], most=100) == points[:50]


def test_bars_stay_on_their_track() -> None:
    bar = score_bar(1.0, -0.1, 1.2)
    assert (bar.width, bar.low, bar.high) == (100, 0, 100)


def test_histogram_is_scaled_to_its_highest_column() -> None:
    columns = histogram([("≤ 64", 5), ("≤ 128", 20)])
    assert [(c.height, c.centre, c.count) for c in columns] == [(25, 25, 5), (100, 75, 20)]
    assert histogram([("≤ 64", 0)]) == ()


def test_of_many_columns_only_some_are_named_the_last_among_them() -> None:
    columns = histogram([(f"≤ {10 * i}", 1) for i in range(1, 17)])
    assert [c.label for c in columns if c.is_named] == ["≤ 10", "≤ 40", "≤ 70", "≤ 100", "≤ 130", "≤ 160"]
    assert all(a.left + a.width < b.left for a, b in itertools.pairwise(columns))
