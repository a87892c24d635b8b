from __future__ import annotations

import pytest

from luthier.evaluation.scorers.numeric import Numeric, find_number, numbers_in
from tests.unit.evaluation.scorers.rows import row


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72),
        ("It costs $1,234.50.", 1234.5),
        ("1,234,567 people", 1_234_567),
        ("1 234 567 people", 1_234_567),
        ("-5 degrees", -5),
        ("−5 degrees", -5),
        ("-$3.20", -3.2),
        ("$ 18", 18),
        ("from 5-10", 10),
        ("10 - 4", 4),
        ("3/4 of it", 0.75),
        ("1 1/2 cups", 1.5),
        (".5", 0.5),
        ("2.5e3", 2500),
        ("45 %", 45),
        ("12.", 12),
        ("a list: 1, 2, 3", 3),
        ("x2 = 7", 7),
        (r"\frac{3}{8}", 0.375),
        ("1,23", 23),
        ("5/0 or 6", 6),
    ],
)
def test_last_number(text: str, value: float) -> None:
    found = find_number(text)
    assert found is not None
    assert found.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3 + 4 = 7\n#### 7\nCheck: 4 + 3 = 7, 1 step", 7),
        ("#### 5\n… no: #### 6", 6),
        (r"So \boxed{\frac{1}{2}} for all 4", 0.5),
        (r"\boxed{3} then \boxed{ 12 }. Page 9", 12),
        ("The answer is 42. It took 3 steps.", 42),
        ("Answer: 8 (of 10)", 8),
        ("The answer is clear: 15", 15),
        ("#### none, 9", 9),
    ],
)
def test_marked_numbers_come_first(text: str, value: float) -> None:
    found = find_number(text)
    assert found is not None
    assert found.value == pytest.approx(value)


def test_no_number() -> None:
    for text in ("", "none", "####", "five"):
        assert find_number(text) is None
    assert [n.text for n in numbers_in("a 1, b $2.50 (3 %)")] == ["1", "$2.50", "3 %"]


@pytest.mark.parametrize(
    ("reference", "answer", "right"),
    [
        ("#### 18", "She makes $18 every day.", 1),
        ("#### 18", "18.00", 1),
        ("#### 18", "about 18.5", 0),
        ("#### 1,200", "1200", 1),
        ("0.45", "45%", 1),
        ("45", "45%", 1),
        ("45%", "0.45", 1),
        ("45%", "45", 1),
        ("45%", "4.5%", 0),
        ("1/3", "0.333333333", 1),
        ("1/3", "0.33", 0),
        ("5", "", 0),
        ("5", "five", 0),
        ("-5", "5", 0),
    ],
)
def test_equality(reference: str, answer: str, right: float) -> None:
    assert Numeric().score(row(reference), answer).value == right


def test_tolerance_and_what_was_found() -> None:
    assert Numeric(tolerance=0.5).score(row("10"), "10.4").value == 1.0
    assert Numeric(tolerance=0.5).score(row("10"), "10.6").value == 0.0
    score = Numeric().score(row("10"), "It is $11.")
    assert (score.found, score.why) == ("$11", "$11 instead of 10")
    assert "no number" in Numeric().reference_problem("none")
    assert Numeric().reference_problem("#### 3") == Numeric().reference_problem(3) == ""
