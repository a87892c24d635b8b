"""Sums, differences, products, and short stories that ask for one: the number in the answer must be right.

Generated from a seed; small numbers, because small models should be able to lose something here.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from luthier.evaluation.protocol import Generation, TaskRow
from luthier.evaluation.scorers.numeric import Numeric
from luthier.evaluation.suite.part import SuitePart
from luthier.types import Message

NAME = "general-arithmetic"
NUM_ROWS = 96
SEED = 7
_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Hugo")
_THINGS = ("apples", "books", "coins", "pencils", "stamps", "marbles")


class Kind(NamedTuple):
    """A kind of question: how it is asked, what it takes, and from where its numbers are drawn."""

    name: str
    asks: tuple[str, ...]
    compute: Callable[[int, int], int]
    first: tuple[int, int]
    second: tuple[int, int]


KINDS = (
    Kind("addition", ("What is {a} + {b}?", "{a} + {b} = ?"), operator.add, (2, 60), (2, 39)),
    Kind("subtraction", ("What is {a} - {b}?", "{a} - {b} = ?"), operator.sub, (20, 90), (2, 19)),
    Kind("multiplication", ("What is {a} * {b}?", "What is {a} times {b}?"), operator.mul, (2, 12), (2, 9)),
    Kind("gaining", ("{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",),
         operator.add, (3, 30), (2, 20)),
    Kind("losing", ("{name} has {a} {things} and gives {b} of them away. How many {things} are left?",),
         operator.sub, (15, 40), (2, 14)),
    Kind("packing", ("There are {a} boxes with {b} {things} each. How many {things} are there in all?",),
         operator.mul, (2, 9), (2, 9)),
)  # fmt: skip


@cache
def general_arithmetic() -> SuitePart:
    """Equally many questions of each kind; no question twice."""
    return SuitePart(NAME, Numeric(), Generation(max_new_tokens=24), tuple(_rows()))


def _rows() -> Iterator[TaskRow]:
    draw = random.Random(SEED)
    seen: set[str] = set()
    number = 0
    while number < NUM_ROWS:
        kind = KINDS[number % len(KINDS)]
        a, b = draw.randint(*kind.first), draw.randint(*kind.second)
        story = {"name": draw.choice(_NAMES), "things": draw.choice(_THINGS)}
        question = draw.choice(kind.asks).format(a=a, b=b, **story)
        if question in seen:
            continue
        seen.add(question)
        number += 1
        yield TaskRow(
            f"arithmetic-{number:02d}",
            (Message("user", f"{question} Answer with the number only."),),
            str(kind.compute(a, b)),
            {"kind": kind.name},
        )
