"""Keys and values of the rows in progress: one slot per row, written in place, never copied from step to step.

A slot remembers which tokens its entries belong to, also after its row has ended: a new row whose prompt begins with the same
tokens copies their entries (a system prompt, examples) instead of computing them again.

Shape letters: S slots, C tokens that a slot holds, K key/value heads, D head width, T tokens that are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MIN_SHARED_TOKENS = 16
"""Below this many tokens, copying entries costs more than computing them along with the rest of the prompt."""


class Known(NamedTuple):
    """A slot whose first `length` entries a prompt can take over."""

    slot: int
    length: int


class SlotMemory:
    """Storage of all layers.

    Args:
        num_slots: Rows at once.
        capacity: Tokens that a slot holds.
    """

    def __init__(self, num_slots: int, capacity: int) -> None:
        self.num_slots = num_slots
        self.capacity = capacity
        self.token_ids: list[tuple[int, ...]] = [()] * num_slots
        self.voices: list[str | None] = [None] * num_slots
        """The adapter that a slot's entries were computed with; None for the base model."""
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def layer(self, index: int, like_TKD: Tensor, values_like_TKD: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [S, K, C, D] of a layer; made when the layer first asks.

        Zeros, because entries that a mask hides are multiplied by 0, and 0 · NaN is NaN.
        """
        if index not in self._layers:
            self._layers[index] = tuple(  # type: ignore[assignment]
                x.new_zeros(self.num_slots, x.shape[1], self.capacity, x.shape[2]) for x in (like_TKD, values_like_TKD)
            )
        return self._layers[index]

    def longest_known(self, prompt: Sequence[int], voice: str | None) -> Known:
        """The slot that holds most of a prompt's beginning, computed by the same voice."""
        lengths = [
            common_length(prompt, ids) if own == voice else 0
            for ids, own in zip(self.token_ids, self.voices, strict=True)
        ]
        best = max(range(self.num_slots), key=lengths.__getitem__)
        return Known(best, lengths[best])

    def take_over(self, known: Known, target: int) -> None:
        """Let `target` hold the same first entries as the known slot, and nothing else."""
        if known.length and known.slot != target:
            for keys, values in self._layers.values():
                for stored_SKCD in (keys, values):
                    stored_SKCD[target, :, : known.length] = stored_SKCD[known.slot, :, : known.length]
        self.token_ids[target] = self.token_ids[known.slot][: known.length]
        self.voices[target] = self.voices[known.slot]


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Number of leading tokens that are equal."""
    end = min(len(a), len(b))
    if a[:end] == b[:end]:
        return end
    low, high = 0, end  # a[:low] is equal, a[:high] is not
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


class Piece(NamedTuple):
    """Consecutive tokens of one row in the flat sequence of a step.

    Attributes:
        slot: Where the row's entries are.
        start: First token in the flat sequence.
        length: How many.
        past: Entries that the slot holds before them.
    """

    slot: int
    start: int
    length: int
    past: int


class Step:
    """What one forward pass computes: new tokens of several rows in one flat sequence, without padding.

    Args:
        memory: Where keys and values are and go.
        pieces: In the order of the flat sequence.
    """

    def __init__(self, memory: SlotMemory, pieces: Sequence[Piece]) -> None:
        self.memory = memory
        self.pieces = tuple(pieces)
        self.one_each = all(p.length == 1 and p.slot == number for number, p in enumerate(pieces))
        """Whether the rows of slots 0, 1, 2, … each bring one token: then all are computed at once."""
        self.longest = max(p.past + p.length for p in pieces)
        self._masks: dict[int | None, Tensor] = {}

    def position_ids(self) -> list[int]:
        """Of the flat sequence."""
        return [position for p in self.pieces for position in range(p.past, p.past + p.length)]

    def last_tokens(self) -> list[int]:
        """Where each row's last token stands in the flat sequence."""
        return [p.start + p.length - 1 for p in self.pieces]

    def mask(self, window: int | None, like: Tensor) -> Tensor:
        """0 where the row's one token sees an entry, −inf elsewhere; made once for all layers of a kind."""
        if window not in self._masks:
            seen_R1 = torch.tensor([p.past + 1 for p in self.pieces], device=like.device)[:, None]
            entries_1C = torch.arange(self.longest, device=like.device)[None, :]
            hidden_RC = entries_1C >= seen_R1
            if window is not None:
                hidden_RC |= entries_1C < seen_R1 - window
            mask_RC = torch.zeros(hidden_RC.shape, dtype=like.dtype, device=like.device)
            self._masks[window] = mask_RC.masked_fill_(hidden_RC, float("-inf"))[:, None, None, :]
        return self._masks[window]
