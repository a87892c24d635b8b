"""Which rows a person sees, in which order, and whose answer stands on the left: drawn with a seed, and written down."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import NamedTuple

from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.recorded import RecordedRow


class DrawnRow(NamedTuple):
    """A row that is looked at.

    Attributes:
        id: Of the row.
        left: Whose answer stands on the left.
        digest: Of question and answers: tells whether they are what they were.
    """

    id: str
    left: ContenderName
    digest: str


def draw(
    rows: Sequence[RecordedRow], contenders: tuple[ContenderName, ContenderName], num_rows: int, seed: int
) -> list[DrawnRow]:
    """Draw rows without putting back, in random order; each contender is on the left of half of them, up to one."""
    rng = random.Random(seed)
    chosen = rng.sample(list(rows), min(num_rows, len(rows)))
    sides = [contenders[number % 2] for number in range(len(chosen))]
    rng.shuffle(sides)
    return [DrawnRow(row.row.id, left, digest(row, contenders)) for row, left in zip(chosen, sides, strict=True)]


def digest(row: RecordedRow, contenders: tuple[ContenderName, ContenderName]) -> str:
    """Equal for equal questions with equal answers."""
    texts = "\0".join((row.asked, *(row.text(name) for name in contenders)))
    return hashlib.blake2b(texts.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
