"""Instructions whose keeping a rule can verify, in the manner of IFEval: topics crossed with constraints, one or two at a time.

The constraints are easy ones, because a small model that keeps none of them has nothing to lose.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from luthier.evaluation.protocol import Generation, TaskRow
from luthier.evaluation.scorers.instructions import Instructions
from luthier.evaluation.suite.part import SuitePart
from luthier.types import Message

NAME = "general-instructions"
NUM_ROWS = 96
SEED = 11

TOPICS = (
    "the sea", "a rainy day", "your favourite season", "bicycles", "the Moon", "a birthday party", "coffee", "trees",
    "friendship", "trains", "the history of writing", "a good breakfast", "cats", "learning to swim", "a small village", "music",
)  # fmt: skip


class Constraint(NamedTuple):
    """How it is asked, the rules that verify it, and its group: two of one group are never asked together."""

    words: str
    rules: Mapping[str, Any]
    group: str


CONSTRAINTS = (
    Constraint("Write at most 30 words.", {"max_words": 30}, "length"),
    Constraint("Write one sentence only.", {"max_sentences": 1}, "length"),
    Constraint("Write at least three sentences.", {"min_sentences": 3}, "length"),
    Constraint("Write exactly three bullet points, each on a line that begins with a dash.", {"bullets": 3}, "form"),
    Constraint("Do not use any commas.", {"no_commas": True}, "commas"),
    Constraint("Use the word 'because'.", {"contains": ["because"]}, "word"),
    Constraint("Use the word 'morning' in your answer.", {"contains": ["morning"]}, "word"),
    Constraint("Do not use the word 'and'.", {"excludes": ["and"]}, "word"),
    Constraint("Write in lowercase letters only, without any capital letter.", {"is_lowercase": True}, "case"),
    Constraint("Write in capital letters only.", {"is_uppercase": True}, "case"),
    Constraint("Begin your answer with the word 'Perhaps'.", {"starts_with": "Perhaps"}, "beginning"),
    Constraint("Put your whole answer in double quotation marks.", {"in_quotes": True}, "quotes"),
)


@cache
def general_instructions() -> SuitePart:
    """Every constraint eight times, a third of them with a second one."""
    return SuitePart(NAME, Instructions(), Generation(max_new_tokens=64), tuple(_rows()))


def _rows() -> Iterator[TaskRow]:
    draw = random.Random(SEED)
    seen: set[str] = set()
    while len(seen) < NUM_ROWS:
        number = len(seen)
        round_, place = divmod(number, len(CONSTRAINTS))
        chosen = [CONSTRAINTS[place]]
        if (round_ + place) % 3 == 0:
            chosen.append(draw.choice(_partners(chosen[0])))
        topic = draw.choice(TOPICS)
        question = f"Write something short about {topic}. {' '.join(constraint.words for constraint in chosen)}"
        if question in seen:
            continue
        seen.add(question)
        yield TaskRow(
            f"instruction-{number + 1:02d}",
            (Message("user", question),),
            {rule: argument for constraint in chosen for rule, argument in constraint.rules.items()},
            {"constraint": "two" if len(chosen) > 1 else chosen[0].group},
        )


_CLASHES = (
    {"length", "form"}, {"quotes", "beginning"}, {"quotes", "form"}, {"beginning", "form"}, {"beginning", "case"},
)  # fmt: skip
"""Groups that do not go together: what begins with a dash does not begin with "Perhaps"."""


def _partners(first: Constraint) -> list[Constraint]:
    return [c for c in CONSTRAINTS if c.group != first.group and {c.group, first.group} not in _CLASHES]
