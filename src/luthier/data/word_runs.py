"""Texts as hashes of their runs of words: equal runs have equal numbers, whatever the order of texts and the process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

_MOST_REMEMBERED_WORDS = 300_000
MIX = np.uint64(0x9E3779B97F4A7C15)


class WordNumbers:
    """Gives words their numbers, and remembers the last of them: words repeat."""

    def __init__(self) -> None:
        self._known = _Known()

    def of(self, words: Sequence[str]) -> Hashes:
        """One number of 64 bits for each word."""
        if len(self._known) > _MOST_REMEMBERED_WORDS:
            self._known.clear()
        return np.fromiter(map(self._known.__getitem__, words), np.uint64, len(words))


class _Known(dict[str, int]):
    def __missing__(self, word: str) -> int:
        number = self[word] = _word_number(word)
        return number


def run_hashes(numbers: Hashes, widths: Sequence[int]) -> list[Hashes]:
    """Hashes of all runs of each width, in order of place; none where the text is shorter than that.

    Args:
        numbers: From `WordNumbers.of`.
        widths: Ascending.
    """
    found: list[Hashes] = []
    hashes, done = np.zeros(len(numbers), np.uint64), 0
    for width in widths:
        while done < width and done < len(numbers):
            hashes = hashes[: len(numbers) - done] * MIX + numbers[done:]
            done += 1
        found.append(_mixed(hashes) if done == width else np.zeros(0, np.uint64))
    return found


def _mixed(hashes: Hashes) -> Hashes:
    return (hashes ^ (hashes >> np.uint64(29))) * MIX


def _word_number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
