"""How a segment table becomes a few large pieces of attention: segments of about one length together, shared prefixes once.

Computed once per micro-batch; every layer uses it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from luthier.data.batch import SegmentTable

COST_OF_A_GROUP = 128**2
"""What one more group costs, as scores (query × key) of one head that could be computed in the same time. Segments are filled
up to the length of another one as long as that costs less."""


class Group(NamedTuple):
    """Segments that are computed at once as if all had the length of the longest.

    Shape letters: L that length, M = `num_segments` · L.

    Attributes:
        tokens_M: Tokens of one segment after the other. A shorter one repeats its last token: as keys these ghosts lie behind
            every real query and are not seen, as queries their results are not used.
        num_segments: How many.
        ghosts: Positions in `tokens_M` that are such repetitions.
        real: The other positions.
    """

    tokens_M: Tensor
    num_segments: int
    ghosts: Tensor
    real: Tensor

    def rows(self, x_THX: Tensor) -> Tensor:
        """[N, L, H, …] out of [T, H, …]; a view where there is one segment."""
        if self.num_segments == 1:
            return x_THX[None, self._alone]
        return x_THX.index_select(0, self.tokens_M).unflatten(0, (self.num_segments, -1))

    def place(self, total_THX: Tensor, part_NLHX: Tensor) -> None:
        """Write results of the real tokens where they belong."""
        if self.num_segments == 1:
            total_THX[self._alone] = part_NLHX[0]
        elif len(self.ghosts):
            part_MHX = part_NLHX.flatten(0, 1).index_select(0, self.real)
            total_THX.index_copy_(0, self.tokens_M[self.real], part_MHX.to(total_THX.dtype))
        else:
            total_THX.index_copy_(0, self.tokens_M, part_NLHX.flatten(0, 1).to(total_THX.dtype))

    @property
    def _alone(self) -> slice:
        start = int(self.tokens_M[0])
        return slice(start, start + len(self.tokens_M))


class Block(NamedTuple):
    """Queries that see all of the same keys (and values)."""

    queries: slice
    keys: slice
    values: slice


class Plan(NamedTuple):
    """All attention of a micro-batch.

    Attributes:
        groups: Every segment with itself, causally.
        shared: Every parent with all that continues it, neighbours in one block.
        half_log2_T: Half of log2 of the number of keys that each query sees, as whole numbers.
    """

    groups: tuple[Group, ...]
    shared: tuple[Block, ...]
    half_log2_T: Tensor


@lru_cache(maxsize=64)
def plan(table: SegmentTable) -> Plan:
    """The pieces for a table."""
    groups = []
    for members in _of_about_one_length(table.lengths):
        length = table.lengths[members[0]]
        own_N1 = torch.tensor([table.lengths[i] for i in members])[:, None]
        start_N1 = torch.tensor([table.starts[i] for i in members])[:, None]
        step_NL = torch.arange(length).expand(len(members), length)
        tokens_M = (start_N1 + torch.minimum(step_NL, own_N1 - 1)).flatten()
        is_ghost_M = (step_NL >= own_N1).flatten()
        groups.append(Group(tokens_M, len(members), is_ghost_M.nonzero()[:, 0], (~is_ghost_M).nonzero()[:, 0]))
    first = [table.context_length(i) + 1 for i in range(len(table.lengths))]
    contexts_T = torch.cat([torch.arange(a, a + n) for a, n in zip(first, table.lengths, strict=True)])
    return Plan(tuple(groups), _shared(table), (contexts_T.double().log2() / 2).round_().float())


def _of_about_one_length(lengths: tuple[int, ...]) -> list[list[int]]:
    """Segments in groups, the longest of each first."""
    found: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if found and lengths[found[-1][0]] ** 2 - lengths[index] ** 2 <= COST_OF_A_GROUP:
            found[-1].append(index)
        else:
            found.append([index])
    return found


def _shared(table: SegmentTable) -> tuple[Block, ...]:
    where = [slice(start, start + length) for start, length in zip(table.starts, table.lengths, strict=True)]
    followers: dict[int, list[slice]] = {}
    for index, own in enumerate(where):
        for ancestor in table.ancestors(index):
            runs = followers.setdefault(ancestor, [])
            if runs and runs[-1].stop == own.start:
                runs[-1] = slice(runs[-1].start, own.stop)
            else:
                runs.append(own)
    return tuple(Block(run, where[a], where[a]) for a, runs in followers.items() for run in runs)
