"""Every row of the suite has one right answer, found here by other means than those that wrote it down."""

import calendar
import re
from collections import Counter

import pytest

from luthier.evaluation.overlap import TrainingIndex
from luthier.evaluation.protocol import LikelihoodScorer
from luthier.evaluation.scorers.instructions import INSTRUCTIONS
from luthier.evaluation.suite.arithmetic import general_arithmetic
from luthier.evaluation.suite.general import PARTS, cost, general_suite
from luthier.evaluation.suite.instructions import general_instructions
from luthier.evaluation.suite.knowledge import general_knowledge
from luthier.evaluation.suite.text import general_text
from luthier.types import Document


@pytest.mark.parametrize("part", general_suite(), ids=lambda part: part.name)
def test_rows_are_usable_unlike_and_always_the_same(part):
    rows = part.rows()
    assert len(rows) >= 20, "fewer give no verdict"
    assert len({row.id for row in rows}) == len(rows)
    assert len({row.question or row.reference for row in rows}) == len(rows)
    assert [part.scorer.reference_problem(row.reference) for row in rows] == [""] * len(rows)
    assert part.few_shot() == ()
    fresh = PARTS[part.name].__wrapped__()
    assert [(row.question, row.reference) for row in fresh.rows()] == [(row.question, row.reference) for row in rows]


_STORIES = {
    r"What is (\d+) \+ (\d+)\?|(\d+) \+ (\d+) = \?|has (\d+) \w+ and gets (\d+) more": lambda a, b: a + b,
    r"What is (\d+) - (\d+)\?|(\d+) - (\d+) = \?|has (\d+) \w+ and gives (\d+) of them away": lambda a, b: a - b,
    r"What is (\d+) (?:\*|times) (\d+)\?|There are (\d+) boxes with (\d+)": lambda a, b: a * b,
}


def test_arithmetic_is_right():
    rows = general_arithmetic().rows()
    for row in rows:
        (result,) = [
            compute(*(int(group) for group in match.groups() if group))
            for pattern, compute in _STORIES.items()
            if (match := re.search(pattern, row.question))
        ]
        assert row.reference == str(result), row.question
        assert result > 0
    assert set(Counter(row.slices["kind"] for row in rows).values()) == {16}


def test_choices_are_four_of_one_relation_and_one_is_right():
    rows = general_knowledge().rows()
    answers = {(row.slices["relation"], row.reference["choices"][row.reference["answer"]]) for row in rows}
    for row in rows:
        choices = row.reference["choices"]
        assert len(choices) == len(set(choices)) == 4
        assert all((row.slices["relation"], choice) in answers for choice in choices)
        assert all(isinstance(choice, str) for choice in choices), "YAML reads true as a truth value"
        assert not set(choices) & set(row.question.split()), row.question
    # The right answer's place gives nothing away: each of four is binomial(124, 1/4), 31 ± 4 × 4.8.
    places = Counter(row.reference["answer"] for row in rows)
    assert all(12 <= places[place] <= 50 for place in range(4))


def test_facts_that_can_be_computed_are_right():
    months, days = list(calendar.month_name)[1:], list(calendar.day_name)
    after = {f"The month after {month} is": months[(i + 1) % 12] for i, month in enumerate(months)}
    after |= {f"The day after {day} is": days[(i + 1) % 7] for i, day in enumerate(days)}
    right = {row.question: row.reference["choices"][row.reference["answer"]] for row in general_knowledge().rows()}
    assert {question: right[question] for question in after} == after


def test_opposites_go_both_ways_where_both_are_asked():
    rows = [row for row in general_knowledge().rows() if row.slices["relation"] == "opposite"]
    pairs = {row.id.partition(": ")[2]: row.reference["choices"][row.reference["answer"]] for row in rows}
    assert all(pairs.get(other, word) == word for word, other in pairs.items())


KEPT = {
    "max_words": "Ten words.",
    "max_sentences": "Only one sentence is here.",
    "min_sentences": "One. Two. Three.",
    "bullets": "- a\n- b\n- c",
    "no_commas": "no comma here",
    "contains": "this is because of the morning",
    "excludes": "that word is absent",
    "is_lowercase": "all small",
    "is_uppercase": "ALL LARGE",
    "starts_with": "Perhaps it is so",
    "in_quotes": '"said"',
}


def test_instructions_can_be_kept_and_broken():
    broken = {"max_words": "word " * 31, "max_sentences": "One. Two.", "no_commas": "a, b", "excludes": "this and that"}
    seen = set()
    for row in general_instructions().rows():
        for rule, argument in row.reference.items():
            seen.add(rule)
            assert INSTRUCTIONS[rule].keeps(KEPT[rule], argument), rule
            assert not INSTRUCTIONS[rule].keeps(broken.get(rule, "Something else."), argument), rule
    assert seen == set(KEPT)


def test_two_instructions_do_not_contradict_each_other():
    """Each pair that is asked can be kept by one text."""
    both = {
        frozenset(("bullets", "excludes")): "- a\n- b\n- c",
        frozenset(("bullets", "contains")): "- because\n- of the morning\n- c",
        frozenset(("bullets", "no_commas")): "- a\n- b\n- c",
        frozenset(("bullets", "is_uppercase")): "- A\n- B\n- C",
        frozenset(("bullets", "is_lowercase")): "- a\n- b\n- c",
    }
    texts = [*both.values(), "PERHAPS BECAUSE IT IS MORNING.", "perhaps because it is morning.", "perhaps it is.",
             "Perhaps a. B c. D e because of the morning.", '"Because it is morning."', '"BECAUSE IT IS MORNING."',
             '"because it is morning."', '"This is. That is. Because it is morning."', "A. B. C BECAUSE MORNING.",
             "a. b. c because morning.", "Perhaps so.", "Perhaps because of the morning.", '"So."',
             "Perhaps, so because morning.", "BECAUSE IT IS MORNING.", "because it is morning."]  # fmt: skip
    for row in general_instructions().rows():
        rules = row.reference
        assert any(
            all(INSTRUCTIONS[rule].keeps(text, argument) for rule, argument in rules.items()) for text in texts
        ), row.question


def test_texts_are_of_many_kinds_and_none_stands_in_another():
    rows = general_text().rows()
    assert len({row.slices["kind"] for row in rows}) >= 10
    index = TrainingIndex([Document(rows[0].reference)])
    assert index.overlap(rows).ids == (rows[0].id,)


def test_the_cost_counts_what_is_read_and_generated():
    read, generated = cost()
    by_hand = sum(
        len(part.rows()) * part.generation.max_new_tokens
        for part in general_suite()
        if not isinstance(part.scorer, LikelihoodScorer)
    )
    assert generated == by_hand < 10_000
    assert read < 10_000
