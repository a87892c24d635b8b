from __future__ import annotations

import pytest

from luthier.pages.report.words import answer_text, interval_points, number, percent, points, shortened, text_of


@pytest.mark.parametrize(
    ("share", "expected"), [(0.712, "71 %"), (0.0, "0 %"), (0.001, "0.1 %"), (0.9999, "100.0 %"), (1.0, "100 %")]
)
def test_percent(share: float, expected: str) -> None:
    assert percent(share).replace("\u00a0", " ") == expected


def test_points_never_round_a_difference_away() -> None:
    assert points(0.7) == "+70"
    assert points(-0.05) == "−5"
    assert points(0.002) == "+0.2"


def test_intervals_have_signs_where_they_are_needed() -> None:
    assert interval_points(0.61, 0.78) == "61…78"
    assert interval_points(-0.04, 0.1) == "−4…+10"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0002, "0.0002"), (12.3456, "12.35"), (1234567, "1 234 567"), (2.3e-7, "2.3 × 10⁻⁷"), (-3.5, "−3.5"), (0, "0")],
)
def test_number(value: float, expected: str) -> None:
    assert number(value).replace("\u202f", " ").replace("\u00a0", " ") == expected


def test_text_of_json_values() -> None:
    assert [text_of(v) for v in ("a", True, None, 0.5, ["b", 1])] == ["a", "yes", "–", "0.5", '["b", 1]']


def test_long_texts_say_how_much_is_left_out() -> None:
    text = shortened("a" * 100 + "b" * 100, longest=30)
    assert text.startswith("a" * 20)
    assert text.endswith("b" * 10)
    assert "170 characters left out" in text
    assert shortened("short", longest=30) == "short"


def test_answers_that_show_nothing_are_described() -> None:
    assert answer_text("") == "(empty answer)"
    assert answer_text("\n\n ") == "(nothing but 3 characters of white space)"
    assert answer_text(" a\n") == " a\n"


def test_many_empty_lines_are_told_not_shown() -> None:
    assert answer_text("\n" * 40 + " Blue") == "(⏎ × 40)\n Blue"
    assert answer_text("a\n \n\t\n\nb") == "a\n(⏎ × 4)\nb"
    assert answer_text("a\n\n\nb") == "a\n\n\nb"
    assert answer_text("\n\n") == "(nothing but 2 characters of white space)"
