"""Diversity: few kinds, a group that outweighs the others, edge cases; topics with examples; and clean data without a finding."""

from __future__ import annotations

import random

import pytest

from luthier.data.lint import diversity
from luthier.data.lint.catalogue import RULES
from luthier.data.lint.diversity import DiversityPass
from luthier.data.lint.rule import Look
from tests.unit.data.lint.rows import ask, chat, clean_rows, document

THINGS = [
    "apple",
    "bridge",
    "candle",
    "door",
    "engine",
    "forest",
    "garden",
    "hammer",
    "island",
    "jacket",
    "kettle",
    "ladder",
    "mirror",
    "needle",
    "orange",
]
VERBS = [
    "paint",
    "repair",
    "describe",
    "measure",
    "clean",
    "sell",
    "borrow",
    "draw",
    "carry",
    "open",
    "hide",
    "count",
    "weigh",
    "move",
    "burn",
]
PLACES = [
    "kitchen",
    "school",
    "harbour",
    "station",
    "museum",
    "village",
    "office",
    "market",
    "castle",
    "airport",
    "farm",
    "bank",
]


def varied(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [
        f"How do I {rng.choice(VERBS)} the {rng.choice(THINGS)} beside the {rng.choice(PLACES)} number {i}?"
        for i in range(count)
    ]


def test_varied_questions_give_no_finding():
    assert ask("diversity", [chat(text, f"Answer {i}.", line=i + 1) for i, text in enumerate(varied(400))]) == []
    assert ask("diversity", clean_rows(600)) == []
    assert ask("diversity", clean_rows(50)) == []


def test_few_kinds_of_prompts():
    rng = random.Random(0)
    rows = [chat(f"Tell me a joke about {rng.choice(THINGS[:4])} {i}", "Ha.", line=i + 1) for i in range(300)]
    (finding,) = ask("diversity", rows)
    assert (finding.severity, finding.num_rows) == ("note", 0)
    assert "300 different ones are, by their words, only as diverse as 4" in finding.message


def test_edge_cases_are_named_with_their_words():
    rows = [chat(text, "Fine.", line=i + 1) for i, text in enumerate(varied(400))]
    rows[7] = chat("Refund unpaid invoice please", "Fine.", line=8)
    rows[300] = chat("Unpaid refund: which invoice?", "Fine.", line=301)
    (finding,) = ask("diversity", rows)
    assert [source.line for source in finding.rows] == [8, 301]
    assert "2 of 400 prompts looked at have hardly one like them" in finding.message
    assert {"refund", "unpaid", "invoice"} <= set(finding.message.split("words: ")[1].strip(".)").split(", "))


def test_topics_come_with_shares_and_places():
    rows = [
        chat(f"{text} Please.", "An answer of more than forty characters, about " + text, line=i + 1)
        for i, text in enumerate(varied(200))
    ]
    looking = Look([RULES["diversity"]])
    for row in rows:
        looking.see(row)
    running = looking.passes["diversity"]
    assert isinstance(running, DiversityPass)
    prompts, answers = running.describe(looking.places)
    assert (prompts.of, answers.of) == ("prompts", "answers")
    assert sum(topic.num_sampled for topic in prompts.topics) == prompts.num_sampled == 200
    assert sum(topic.share for topic in prompts.topics) == pytest.approx(1)
    example = prompts.topics[0].examples[0]
    assert example.source is not None
    assert example.text == rows[example.source.line - 1].messages[0].content


def test_order_does_not_matter(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diversity, "MOST_SAMPLED", 200)
    rows = [document(text, line=i + 1) for i, text in enumerate(varied(300))]
    described = []
    for order in (rows, rows[::-1]):
        looking = Look([RULES["diversity"]])
        for row in order:
            looking.see(row)
        running = looking.passes["diversity"]
        assert isinstance(running, DiversityPass)
        (part,) = running.describe(looking.places)
        described.append([(topic.num_sampled, topic.words, [e.text for e in topic.examples]) for topic in part.topics])
        assert part.num_sampled == 200
    assert described[0] == described[1]
