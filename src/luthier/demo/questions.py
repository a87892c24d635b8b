"""Questions about the shop with their SQL: training questions, and held-out ones that need composition to answer.

A *combination* is a shape with the set of its conditions ("average price | category + stock over"). A quarter of the
combinations of each shape is held out; their parts all occur in training, together they never do. A held-out question
also uses only values (words, numbers, dates, counts) that no training question of the same condition uses.

Every SQL was executed: its result is not empty, and leaving out any of its conditions (or its count) changes the
result, so that a query which ignores part of the question is seen to be wrong.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from luthier.demo.database import build_database
from luthier.demo.filters import FILTERS, Split, Value
from luthier.demo.shapes import SHAPES, FilterSet, Kind, Shape

HELDOUT_SHARE = 0.25
NUM_TRAINING = 512
NUM_HELDOUT = 120
ATTEMPTS_PER_QUESTION = 40
COUNTS_THAT_KEEP_ALL = (0, 1000)
"""HAVING COUNT(*) > 0 and LIMIT 1000 leave nothing out: a count in a question must change the result against both."""


class Combination(NamedTuple):
    """A shape with the conditions in it."""

    shape: Shape
    filter_names: FilterSet

    @property
    def name(self) -> str:
        """Unique and stable."""
        return f"{self.shape.name} | {' + '.join(self.filter_names)}"


@dataclass(frozen=True)
class Question:
    """A question, the query that answers it, and what it is made of.

    Attributes:
        values: The values in it as (name of the condition, value as said); counts under "order k", "group k".
    """

    text: str
    sql: str
    kind: Kind
    combination: str
    values: tuple[tuple[str, str], ...]

    @property
    def slices(self) -> dict[str, str]:
        """Groups for the evaluation."""
        num_conditions = sum(name in FILTERS for name, _ in self.values)
        return {"kind": self.kind, "conditions": str(num_conditions), "tables": str(1 + self.sql.count(" JOIN "))}


def combinations(split: Split) -> dict[str, list[Combination]]:
    """The combinations of one side, by the name of their shape, in a fixed mixed order."""
    chosen: dict[str, list[Combination]] = {}
    for shape in SHAPES:
        mixed = sorted((Combination(shape, names) for names in shape.filter_sets), key=lambda c: _digest(c.name))
        num_heldout = max(1, round(HELDOUT_SHARE * len(mixed)))
        chosen[shape.name] = mixed[:num_heldout] if split == "heldout" else mixed[num_heldout:]
    return chosen


def training_questions(count: int = NUM_TRAINING) -> list[Question]:
    """`count` training questions; a smaller count gives the beginning of a larger one."""
    return list(itertools.islice(_questions("train"), count))


def heldout_questions(count: int = NUM_HELDOUT) -> list[Question]:
    """`count` held-out questions; a smaller count gives the beginning of a larger one."""
    return list(itertools.islice(_questions("heldout"), count))


def _questions(split: Split) -> Iterator[Question]:
    """Endless: goes round the shapes, and within each shape round its combinations, and skips what was asked before."""
    connection = build_database()
    generator = random.Random(f"questions {split}")
    rounds = {name: itertools.cycle(made) for name, made in combinations(split).items()}
    asked: set[str] = set()
    round_of_shapes = [shape for shape in SHAPES for _ in range(shape.training_turns if split == "train" else 1)]
    for shape in itertools.cycle(round_of_shapes):
        for _ in range(ATTEMPTS_PER_QUESTION):
            question = _draw(next(rounds[shape.name]), split, generator, connection)
            if question is not None and question.text not in asked:
                asked.add(question.text)
                yield question
                break


def _draw(
    combination: Combination, split: Split, generator: random.Random, connection: sqlite3.Connection
) -> Question | None:
    """One question of a combination; None where the drawn values give a result that proves nothing."""
    shape, names = combination
    values = [generator.choice(FILTERS[name].values(split)) for name in names]
    count = generator.choice(shape.counts[split]) if shape.counts else None
    text = _say(shape, names, values, count, generator)
    if not _is_telling(shape, names, values, count, connection):
        return None
    used = tuple((name, value.said) for name, value in zip(names, values, strict=True))
    if count is not None:
        used += ((f"{shape.kind} k", str(count)),)
    return Question(text, _sql(shape, names, values, count), shape.kind, combination.name, used)


def _sql(shape: Shape, names: FilterSet, values: list[Value], count: int | None) -> str:
    conditions = [FILTERS[name].sql.format(v=value.sql) for name, value in zip(names, values, strict=True)]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return shape.sql.format(where=where, k=count)


def _say(shape: Shape, names: FilterSet, values: list[Value], count: int | None, generator: random.Random) -> str:
    said: dict[str, list[str]] = {"products": [], "customers": [], "orders": []}
    for name, value in zip(names, values, strict=True):
        condition = FILTERS[name]
        said[condition.table].append(generator.choice(condition.phrases).format(v=value.said))
    words = {table: " and ".join(phrases) for table, phrases in said.items()}
    text = generator.choice(shape.phrases).format(k=count, **words)
    return " ".join(text.split()).replace(" ?", "?").replace(" .", ".")


def _is_telling(
    shape: Shape, names: FilterSet, values: list[Value], count: int | None, connection: sqlite3.Connection
) -> bool:
    result = connection.execute(_sql(shape, names, values, count)).fetchall()
    if not result or result in ([(None,)], [(0,)]):
        return False
    if count is not None and any(
        connection.execute(_sql(shape, names, values, other)).fetchall() == result for other in COUNTS_THAT_KEEP_ALL
    ):
        return False
    for left_out in range(len(names)):
        fewer_names = names[:left_out] + names[left_out + 1 :]
        fewer_values = values[:left_out] + values[left_out + 1 :]
        if connection.execute(_sql(shape, fewer_names, fewer_values, count)).fetchall() == result:
            return False
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
