"""What the model knows: of four words the right one must be the most probable behind the beginning of a sentence.

Nothing is generated, so manners and formats that tuning has changed do not count; what is lost here is knowledge.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from luthier.evaluation.protocol import Generation, TaskRow
from luthier.evaluation.scorers.multiple_choice import MultipleChoice
from luthier.evaluation.suite.part import SuitePart
from luthier.types import Message

NAME = "general-knowledge"
NUM_CHOICES = 4
SEED = 5


@cache
def general_knowledge() -> SuitePart:
    """One question for each fact of knowledge.yaml."""
    content = yaml.safe_load(Path(__file__).with_name("knowledge.yaml").read_text(encoding="utf-8"))
    rows = [row for relation in content["relations"] for row in _questions(relation)]
    return SuitePart(NAME, MultipleChoice(prompt_format="text"), Generation(max_new_tokens=1), tuple(rows))


def _questions(relation: Mapping[str, Any]) -> Iterator[TaskRow]:
    draw = random.Random(f"{SEED} {relation['name']}")
    answers = list(dict.fromkeys(relation["facts"].values()))
    for subject, right in relation["facts"].items():
        # "The opposite of big is": the subject itself would be no fair choice either.
        barred = {right, subject, *relation.get("same", {}).get(subject, ())}
        choices = [right, *draw.sample([a for a in answers if a not in barred], NUM_CHOICES - 1)]
        draw.shuffle(choices)
        beginning = relation["beginning"].format(subject=subject)
        yield TaskRow(
            f"{relation['name']}: {subject}",
            (Message("user", beginning[:1].upper() + beginning[1:]),),
            {"choices": choices, "answer": choices.index(right)},
            {"relation": relation["name"]},
        )
