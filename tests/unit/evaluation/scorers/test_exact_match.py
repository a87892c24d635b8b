from __future__ import annotations

import pytest

from luthier.evaluation.protocol import TaskRow
from luthier.evaluation.scorers.exact_match import ExactMatch
from luthier.types import Message


def _score(reference: str | list[str], answer: str) -> float:
    return ExactMatch().score(TaskRow("1", (Message("user", "?"),), reference), answer).value


@pytest.mark.parametrize("answer", ["Paris", " paris.\n", "PARIS", '"Paris"', "Ｐａｒｉｓ"])
def test_case_space_quotes_and_full_stop_do_not_matter(answer: str) -> None:
    assert _score("Paris", answer) == 1.0


@pytest.mark.parametrize("answer", ["", "Paris, France", "Pari", "It is Paris"])
def test_everything_else_does(answer: str) -> None:
    assert _score("Paris", answer) == 0.0


def test_any_of_several_references() -> None:
    assert _score(["New York", "NYC"], "nyc") == 1.0
    assert _score(["New York", "NYC"], "York") == 0.0


def test_white_space_inside_counts_as_one() -> None:
    assert _score("New  York", "new\nyork") == 1.0
    assert _score("New York", "newyork") == 0.0
