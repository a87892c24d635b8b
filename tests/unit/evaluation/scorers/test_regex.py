from __future__ import annotations

import pytest

from luthier.errors import InputError
from luthier.evaluation.scorers.regex import Regex
from tests.unit.evaluation.scorers.rows import row


def test_search_whole_and_lines() -> None:
    assert Regex(r"\d{4}").score(row(), "in 1999").value == 1.0
    assert Regex(r"\d{4}", whole=True).score(row(), "in 1999").value == 0.0
    assert Regex(r"\d{4}", whole=True).score(row(), " 1999\n").value == 1.0
    assert Regex(r"^B").score(row(), "A\nB").value == 1.0
    assert Regex(r"x").score(row(), "").why == "the answer is empty"


def test_a_group_is_compared_with_the_reference() -> None:
    scorer = Regex(r"answer: (\w+)")
    assert scorer.score(row("Blue"), "answer: red … no, answer: blue").value == 1.0  # the last counts
    assert scorer.score(row(["red", "green"]), "answer: blue").why == "caught 'blue'"
    assert "must be one text" in scorer.reference_problem(3)


def test_pattern_of_the_row() -> None:
    assert Regex().score(row("colou?r"), "a color").value == 1.0
    assert "no regular expression" in Regex().reference_problem("(")
    with pytest.raises(InputError, match=r"pattern '\(' is no regular expression"):
        Regex("(")
