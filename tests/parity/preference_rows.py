"""Pairs and labelled answers of random tokens, as trees and as what TRL's collators take."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from luthier.data.example import Example, Part, Segment
from tests.tiny import VOCAB

PAIR_LENGTHS = [(6, 4, 9), (3, 12, 2), (11, 5, 5), (1, 7, 3), (8, 1, 6), (2, 3, 3), (5, 10, 1), (4, 2, 8)]


class RandomPair(NamedTuple):
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def random_pairs(seed: int = 0, longest_prompt: int | None = None) -> list[RandomPair]:
    """Eight pairs of uneven lengths; answers to one prompt begin with different tokens."""
    rng = np.random.default_rng(seed)

    def tokens(count: int, first: int) -> list[int]:
        return [first, *rng.integers(10, VOCAB, count - 1).tolist()]

    lengths = [(min(p, longest_prompt or p), c, r) for p, c, r in PAIR_LENGTHS]
    return [RandomPair(tokens(p, 3), tokens(c, 4 + i % 2), tokens(r, 6 + i % 3)) for i, (p, c, r) in enumerate(lengths)]


def _segment(ids: list[int], weight: float, parent: int, part: Part) -> Segment:
    return Segment(np.array(ids, np.int32), np.full(len(ids), weight, np.float32), parent, part=part)


def pair_trees(pairs: list[RandomPair]) -> list[Example]:
    """One shared prompt with two answers each."""
    return [
        Example(
            row,
            (
                Segment(np.array(p, np.int32), np.zeros(len(p), np.float32), row=-1),
                _segment(c, 1.0, 0, Part.CHOSEN),
                _segment(r, 1.0, 0, Part.REJECTED),
            ),
        )
        for row, (p, c, r) in enumerate(pairs)
    ]


def labelled_trees(pairs: list[RandomPair], labels: list[bool]) -> list[Example]:
    """The chosen answers with labels, and beside each the one of the row before (TRL rotates so)."""
    return [
        Example(
            row,
            (
                Segment(np.array(pair.prompt, np.int32), np.zeros(len(pair.prompt), np.float32), row=-1),
                _segment(pair.chosen, 1.0, 0, Part.GOOD if label else Part.BAD),
                _segment(pairs[row - 1].chosen, 1.0, 0, Part.MISMATCHED),
            ),
        )
        for row, (pair, label) in enumerate(zip(pairs, labels, strict=True))
    ]


def trl_pairs(pairs: list[RandomPair]) -> list[dict[str, Any]]:
    """For TRL's DataCollatorForPreference."""
    return [{"prompt_ids": p, "chosen_ids": c, "rejected_ids": r} for p, c, r in pairs]


def trl_labelled(pairs: list[RandomPair], labels: list[bool]) -> list[dict[str, Any]]:
    """For TRL's DataCollatorForUnpairedPreference."""
    return [
        {
            "prompt_ids": pair.prompt,
            "completion_ids": pair.chosen,
            "KL_completion_ids": pairs[row - 1].chosen,
            "label": label,
        }
        for row, (pair, label) in enumerate(zip(pairs, labels, strict=True))
    ]
