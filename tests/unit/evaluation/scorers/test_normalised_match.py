from __future__ import annotations

import pytest

from luthier.evaluation.scorers.normalised_match import NormalisedMatch, words_of
from tests.unit.evaluation.scorers.rows import row


def test_words() -> None:
    assert words_of("The U.S. economy—don't panic!") == ["u", "s", "economy", "dont", "panic"]
    assert words_of("Ｆull-width, «quoted»") == ["full", "width", "quoted"]
    assert words_of(" ... ") == []


@pytest.mark.parametrize("answer", ["The Eiffel Tower", "eiffel tower.", "'Eiffel Tower!'", "an Eiffel-Tower"])
def test_articles_punctuation_and_case_do_not_matter(answer: str) -> None:
    assert NormalisedMatch().score(row("Eiffel Tower"), answer).value == 1.0


@pytest.mark.parametrize("answer", ["", "...", "Tower Eiffel", "the Eiffel Tower in Paris", "Eiffel"])
def test_other_words_do(answer: str) -> None:
    assert NormalisedMatch().score(row("Eiffel Tower"), answer).value == 0.0


def test_contains() -> None:
    scorer = NormalisedMatch(contains=True)
    assert scorer.score(row(["NYC", "New York"]), "It is in New York, I think.").value == 1.0
    assert scorer.score(row("New York"), "York is not new").value == 0.0
    assert scorer.score(row("art"), "a smart start").value == 0.0


def test_references_that_cannot_be_used() -> None:
    assert NormalisedMatch().reference_problem("fine") == ""
    assert "no words" in NormalisedMatch().reference_problem("the")
    assert "must be one text" in NormalisedMatch().reference_problem(7)
    assert "must be one text" in NormalisedMatch().reference_problem([])
