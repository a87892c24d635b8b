"""How many rows of each source go into a mix, which ones, and in what order the sources follow one another.

Numbers, no files: the same numbers give the same mix. Shares are met to the row (largest remainders). Of a source that gives less
than it has, a random sample is taken; one that gives more than it has is gone through again, whole, before the sample.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from luthier.errors import InputError

WhenExhausted = Literal["stop", "repeat"]
WHEN_EXHAUSTED: tuple[WhenExhausted, ...] = ("stop", "repeat")


class MixSource(NamedTuple):
    """What is asked of one source: a share or a number of rows; all its rows where both are None."""

    name: str
    weight: float | None = None
    num_rows: int | None = None


class MixPlan(NamedTuple):
    """Rows of each source.

    Attributes:
        counts: How many.
        exhausted: Sources that have less than was asked of them.
    """

    counts: tuple[int, ...]
    exhausted: tuple[int, ...]


def read_source(text: str) -> MixSource:
    """``rows.jsonl:0.7`` a share, ``rows.jsonl:500`` a number of rows, ``rows.jsonl`` all rows.

    Raises:
        InputError: What stands behind the colon is neither.
    """
    name, colon, amount = text.rpartition(":")
    if not colon or not name or not amount or "/" in amount:
        return MixSource(text)
    try:
        source = MixSource(name, num_rows=int(amount)) if amount.isdigit() else MixSource(name, weight=float(amount))
    except ValueError:
        if amount[0].isdigit():
            raise InputError(f"{text}: '{amount}' is neither a share (0.7) nor a number of rows (500).") from None
        return MixSource(text)  # a name with a colon in it
    if source.num_rows == 0 or (source.weight is not None and not 0 < source.weight < math.inf):
        raise InputError(f"{text}: a source must give something; leave it out, or write a share above 0.")
    return source


def plan_mix(
    sources: Sequence[MixSource], available: Sequence[int], num_rows: int | None, when_exhausted: WhenExhausted
) -> MixPlan:
    """Rows of each source.

    Args:
        sources: All with a share, or none.
        available: Rows that each has.
        num_rows: Of the whole mix, where there are shares. None: without repeating, as many as there can be until the first
            source is used up; with, as few as use every source up.
        when_exhausted: What happens where a source has too few rows.

    Raises:
        InputError: Shares stand beside numbers of rows, or the numbers make no sense.
    """
    has_weights = [source.weight is not None for source in sources]
    if any(has_weights) and not all(has_weights):
        without = sources[has_weights.index(False)].name
        raise InputError(f"{without} has no share, others do. Give all a share (0.7), or all a number of rows (500).")
    if not any(has_weights):
        if num_rows is not None:
            raise InputError("--rows is for shares (A.jsonl:0.7); here each source says how many rows it gives.")
        asked = [
            n if source.num_rows is None else source.num_rows for source, n in zip(sources, available, strict=True)
        ]
        exhausted = tuple(i for i, (count, n) in enumerate(zip(asked, available, strict=True)) if count > n)
        counts = asked if when_exhausted == "repeat" else [min(pair) for pair in zip(asked, available, strict=True)]
        return MixPlan(tuple(counts), exhausted)
    if num_rows is not None and num_rows < 1:
        raise InputError(f"--rows {num_rows}: a mix has at least one row.")
    total = sum(source.weight or 0.0 for source in sources)
    return _by_shares([(source.weight or 0.0) / total for source in sources], available, num_rows, when_exhausted)


def _by_shares(
    shares: Sequence[float], available: Sequence[int], num_rows: int | None, when_exhausted: WhenExhausted
) -> MixPlan:
    reach = [n / share for n, share in zip(available, shares, strict=True)]
    if when_exhausted == "repeat":
        total = num_rows or math.ceil(max(reach) - 1e-9)
        counts = apportion(shares, total)
    else:
        most = math.floor(min(reach) + 1e-9)
        total = most if num_rows is None else min(num_rows, most)
        counts = apportion(shares, total)
        while any(count > n for count, n in zip(counts, available, strict=True)):  # by rounding
            total -= 1
            counts = apportion(shares, total)
    if when_exhausted == "repeat":
        exhausted = [index for index, (count, n) in enumerate(zip(counts, available, strict=True)) if count > n]
    elif total == num_rows:
        exhausted = []
    else:  # those that end the mix
        exhausted = [index for index, r in enumerate(reach) if r <= min(reach) * (1 + 1e-9)]
    return MixPlan(tuple(counts), tuple(exhausted))


def apportion(shares: Sequence[float], total: int) -> list[int]:
    """`total` in whole numbers by shares that sum to 1: largest remainders, the first of equal ones."""
    exact = [share * total for share in shares]
    counts = [math.floor(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-(exact[i] - counts[i]), i))
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


def chosen_rows(available: int, count: int, seed: int, source: int) -> tuple[int, bytearray]:
    """Which rows of a source are taken: whole passes over all of them, then those marked in the bytes.

    Args:
        available: Rows that it has.
        count: Rows that it gives.
        seed: Of the mix.
        source: Its number.
    """
    passes, rest = divmod(count, available)
    marked = bytearray(available)
    for index in random.Random(f"{seed}:{source}").sample(range(available), rest):
        marked[index] = 1
    return passes, marked


def order_of_sources(counts: Sequence[int], seed: int) -> list[int]:
    """The source of each row of the mix, shuffled."""
    order = [source for source, count in enumerate(counts) for _ in range(count)]
    random.Random(f"{seed}:order").shuffle(order)
    return order
