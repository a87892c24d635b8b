"""How many examples have about how many tokens: a histogram that is fine enough to see the shape, with round edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from luthier.data.report import LengthBin

MOST_BINS = 16
WIDEST_EVEN = 16
"""Lengths that differ by up to this factor get bins of one width; longer tails get bins that grow with the length."""


def length_histogram(lengths: NDArray[np.int64]) -> tuple[LengthBin, ...]:
    """Counts per bin, from the first that holds anything to the last; at most `MOST_BINS`.

    Edges are multiples of 1, 2 or 5 times a power of ten; for long tails powers of two, with their halves between them
    (… 64, 96, 128, 192, 256 …) where there is room.
    """
    if not len(lengths):
        return ()
    shortest, longest = max(int(lengths.min()), 1), max(int(lengths.max()), 1)
    edges = _even_edges(shortest, longest) if longest <= WIDEST_EVEN * shortest else _growing_edges(shortest, longest)
    counts = np.bincount(np.searchsorted(edges, np.maximum(lengths, 1)), minlength=len(edges))
    return tuple(LengthBin(edge, int(count)) for edge, count in zip(edges, counts.tolist(), strict=True))


def _even_edges(shortest: int, longest: int) -> list[int]:
    """Upper edges at equal distances."""
    steps = (factor * 10**power for power in range(12) for factor in (1, 2, 5))
    step = next(s for s in steps if -(-longest // s) - -(-shortest // s) < MOST_BINS)
    return list(range(-(-shortest // step) * step, longest + step, step))


def _growing_edges(shortest: int, longest: int) -> list[int]:
    """Upper edges at powers of two, and half-way between them unless that makes too many."""
    powers = [2**exponent for exponent in range((longest - 1).bit_length() + 1)]
    halves = sorted({*powers, *(3 * power // 2 for power in powers[1:-1])})
    fine = _between(halves, shortest, longest)
    return fine if len(fine) <= MOST_BINS else _between(powers, shortest, longest)


def _between(edges: list[int], shortest: int, longest: int) -> list[int]:
    first, last = np.searchsorted(edges, [shortest, longest]).tolist()
    return edges[first : last + 1]
