from __future__ import annotations

from typing import Any

import pytest

from luthier.evaluation.scorers.instructions import INSTRUCTIONS, Instructions, num_sentences, paragraphs, words
from tests.unit.evaluation.scorers.rows import row

CASES: list[tuple[str, Any, str, str]] = [
    ("min_words", 3, "one two three", "one two"),
    ("max_words", 3, "well-known words, don't", "one two three four"),
    ("max_words", 3, "x", ""),
    ("min_sentences", 2, "One. Two!", "Only one here."),
    ("max_sentences", 2, 'He said "Hi." Then left', "A. B. C."),
    ("paragraphs", 2, "First.\n\nSecond\nstill second.", "First.\nSecond."),
    ("bullets", 2, "- a\n* b\ntext - no", "- a\n- b\n- c"),
    ("bullets", 2, "1. a\n2) b", "1.5 a\n2 b"),
    ("headings", 1, "# A\ntext", "#A\ntext"),
    ("min_placeholders", 2, "Dear [name], at [place]", "Dear [name]"),
    ("min_bold", 1, "this is **bold**", "2 * 3 * 4"),
    ("contains", ["river", "New York"], "A River near new york.", "A riverbank in New York."),
    ("excludes", ["but"], "A butter knife", "All but one"),
    ("excludes", ["but"], "yes", ""),
    ("word_counts", {"tea": 2}, "Tea and tea", "Tea and teapots"),
    ("starts_with", "Dear", "dear all", "All dear"),
    ("ends_with", "Yours.", "Truly yours.\n", "Yours. Bye"),
    ("matches", r"^\d+$", "12\n", "12a"),
    ("is_uppercase", True, "LOUD 1!", "Loud"),
    ("is_uppercase", False, "Quiet", "LOUD"),
    ("is_lowercase", True, "soft, 1!", "Soft"),
    ("no_commas", True, "no comma here", "one, two"),
    ("no_commas", False, "one, two", "none"),
    ("in_quotes", True, '"all of it"', 'he said "this"'),
    ("in_quotes", True, "“all of it”", '"'),
    ("is_json", True, '{"a": 1}', 'Here: {"a": 1}'),
]


@pytest.mark.parametrize(("rule", "argument", "kept", "broken"), CASES)
def test_rules(rule: str, argument: Any, kept: str, broken: str) -> None:
    scorer = Instructions()
    assert scorer.reference_problem({rule: argument}) == ""
    assert scorer.score(row({rule: argument}), kept).value == 1.0
    assert scorer.score(row({rule: argument}), broken).value == 0.0


def test_every_rule_is_tested() -> None:
    assert {case[0] for case in CASES} == set(INSTRUCTIONS)
    assert len(INSTRUCTIONS) >= 12


def test_counting() -> None:
    assert words("Don't re-do it — 3 times.") == ["Don't", "re-do", "it", "3", "times"]
    assert num_sentences("One. Two? Three… and a rest") == 4
    assert num_sentences("Version 2.5 is out.") == 1
    assert num_sentences("") == 0
    assert paragraphs("\n\na\n \nb\n") == ["a", "b"]


def test_all_must_be_kept_and_the_share_is_told() -> None:
    score = Instructions().score(row({"max_words": 5, "no_commas": True, "ends_with": "!"}), "Yes, it is so!")
    assert (score.value, score.why) == (0.0, "broken: no_commas")
    assert score.measures["instructions_kept"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("text", "must be a mapping of rules"),
        ({}, "must be a mapping of rules"),
        ({"min_word": 3}, "there is no rule 'min_word'; known: min_words"),
        ({"min_words": "3"}, "min_words: expected a whole number, found '3'"),
        ({"contains": "x"}, "contains: expected a list of texts"),
        ({"no_commas": 1}, "no_commas: expected true or false"),
        ({"word_counts": {"a": "b"}}, "word_counts: expected a mapping"),
        ({"matches": "("}, "matches: "),
    ],
)
def test_wrong_references(reference: Any, words: str) -> None:
    assert words in Instructions().reference_problem(reference)
