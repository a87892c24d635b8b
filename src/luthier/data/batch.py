"""What goes through a model at once: one flat sequence of tokens without padding, and the table that keeps documents apart.

Shape letters: T tokens in the batch, N segments, S supervised positions.

A *segment* is a run of consecutive tokens. Its `parent` is the segment that it continues, or -1: a segment attends to its
ancestors and, causally, to itself, and to nothing else. A plain document is one segment without a parent; two answers to
one prompt are two segments with the prompt as their parent, so the prompt is computed once.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from luthier.data.example import Part


@dataclass(frozen=True)
class SegmentTable:
    """Start, length and parent of each segment, as Python integers: known without asking a device.

    Segments lie in order and without gaps; a parent comes before its children.
    """

    starts: tuple[int, ...]
    lengths: tuple[int, ...]
    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        position = 0
        for index, (start, length, parent) in enumerate(zip(self.starts, self.lengths, self.parents, strict=True)):
            assert start == position, f"segment {index} starts at {start}, the one before ends at {position}"
            assert length > 0, f"segment {index} is empty"
            assert -1 <= parent < index, f"segment {index} has parent {parent}"
            position += length

    @property
    def num_tokens(self) -> int:
        """T."""
        return self.starts[-1] + self.lengths[-1] if self.starts else 0

    @cached_property
    def has_parents(self) -> bool:
        """Whether any segment continues another."""
        return any(parent >= 0 for parent in self.parents)

    def ancestors(self, index: int) -> list[int]:
        """The chain of segments that `index` continues, root first, without itself."""
        chain: list[int] = []
        parent = self.parents[index]
        while parent >= 0:
            chain.append(parent)
            parent = self.parents[parent]
        return chain[::-1]

    def context_length(self, index: int) -> int:
        """Tokens in all ancestors of `index`: the position of its first token."""
        return sum(self.lengths[a] for a in self.ancestors(index))

    @cached_property
    def longest_document_tokens(self) -> int:
        """Tokens of the longest segment together with its ancestors."""
        return max((self.context_length(i) + n for i, n in enumerate(self.lengths)), default=0)


class TargetTable(NamedTuple):
    """The supervised positions: the hidden state at `positions_S` predicts token `ids_S`, which counts `weights_S`.

    `segments_S` names the segment that the *target token* stands in, for objectives that sum over an answer.
    """

    ids_S: Tensor
    positions_S: Tensor
    weights_S: Tensor
    segments_S: Tensor


@dataclass(frozen=True)
class Batch:
    """A micro-batch. Every tensor lives on one device; `segments` and `rows` are plain Python.

    Attributes:
        input_ids_T: Token ids, int64.
        position_ids_T: Position of each token in its document; a child continues its parent's count.
        segments: Which token belongs to which document.
        targets: What is learnt; see `TargetTable`.
        rows: For each segment the row of the data set that it ends; -1 for shared prefixes and fillers.
        parts: For each segment what it is among the answers of its row; empty means `Part.TEXT` for all.
        reference_N: For each segment the log-probability of its targets under the reference model; NaN where it is not known.
    """

    input_ids_T: Tensor
    position_ids_T: Tensor
    segments: SegmentTable
    targets: TargetTable
    rows: tuple[int, ...]
    parts: tuple[Part, ...] = ()
    reference_N: Tensor | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens that go through the model, each counted once."""
        return self.input_ids_T.shape[0]

    @property
    def num_row_tokens(self) -> int:
        """Tokens of the rows as if each stood alone: what the same work would be without shared prefixes."""
        return sum(self._row_lengths())

    @property
    def longest_row_tokens(self) -> int:
        """Tokens of the longest row, shared beginnings included."""
        return max(self._row_lengths(), default=0)

    def _row_lengths(self) -> list[int]:
        table = self.segments
        return [table.context_length(i) + table.lengths[i] for i, row in enumerate(self.rows) if row >= 0]

    @property
    def num_targets(self) -> int:
        """Supervised positions."""
        return self.targets.ids_S.shape[0]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`; copies do not wait for the device."""
        return replace(
            self,
            input_ids_T=self.input_ids_T.to(device, non_blocking=True),
            position_ids_T=self.position_ids_T.to(device, non_blocking=True),
            targets=TargetTable(*(t.to(device, non_blocking=True) for t in self.targets)),
            reference_N=None if self.reference_N is None else self.reference_N.to(device, non_blocking=True),
        )

    def segments_of(self, part: Part) -> list[int]:
        """Indices of the segments that are this part."""
        return [index for index, own in enumerate(self.parts) if own == part]

    def only(self, parts: Container[Part]) -> Batch:
        """The batch without the answers that are not among `parts`; prompts stay. For batches on the CPU."""
        kept = [i for i, part in enumerate(self.parts) if part == Part.TEXT or part in parts]
        table = self.segments
        lengths = tuple(table.lengths[i] for i in kept)
        new_index = torch.full((len(table.lengths),), -1, dtype=torch.int64)
        new_index[kept] = torch.arange(len(kept))
        keeps_T = torch.repeat_interleave(new_index >= 0, torch.tensor(table.lengths))
        new_position_T = torch.cumsum(keeps_T, 0) - 1
        keeps_S = new_index[self.targets.segments_S] >= 0
        ids_S, positions_S, weights_S, segments_S = (t[keeps_S] for t in self.targets)
        return Batch(
            input_ids_T=self.input_ids_T[keeps_T],
            position_ids_T=self.position_ids_T[keeps_T],
            segments=SegmentTable(
                starts=tuple(accumulate(lengths, initial=0))[:-1],
                lengths=lengths,
                parents=tuple(-1 if table.parents[i] < 0 else int(new_index[table.parents[i]]) for i in kept),
            ),
            targets=TargetTable(ids_S, new_position_T[positions_S], weights_S, new_index[segments_S]),
            rows=tuple(self.rows[i] for i in kept),
            parts=tuple(self.parts[i] for i in kept),
            reference_N=None if self.reference_N is None else self.reference_N[kept],
        )

    def without_weight(self) -> Batch:
        """A filler: the same work, counted zero; keeps ranks in step when they hold unequal numbers of micro-batches."""
        targets = self.targets._replace(weights_S=torch.zeros_like(self.targets.weights_S))
        return replace(self, targets=targets, rows=tuple(-1 for _ in self.rows))
