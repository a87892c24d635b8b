"""Rows into micro-batches of a token budget: no padding, no row cut, the same work for every rank."""

from __future__ import annotations

from collections.abc import Sequence


def pack(lengths: Sequence[int], budget_tokens: int) -> list[list[int]]:
    """Best-fit decreasing: each bin's lengths add up to at most `budget_tokens`; a longer row gets a bin of its own.

    Returns bins of indices into `lengths`; every index once; deterministic (ties go by index). Within a bin and among
    bins the order is that of the smallest index, so that packing does not sort the data.
    """
    bins: list[list[int]] = []
    space: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fitting = [b for b in range(len(bins)) if space[b] >= lengths[index]]
        if fitting:
            best = min(fitting, key=lambda b: (space[b], b))
            bins[best].append(index)
            space[best] -= lengths[index]
        else:
            bins.append([index])
            space.append(budget_tokens - lengths[index])
    return sorted((sorted(b) for b in bins), key=lambda b: b[0])


def pack_for_ranks(lengths: Sequence[int], budget_tokens: int, num_ranks: int) -> list[list[list[int]]]:
    """Micro-batches per rank: equally many for each, tokens as even as whole bins allow.

    Where bins run out a rank repeats its first micro-batch's content as a filler; the caller gives it weight zero. A filler is
    an empty list here.
    """
    if num_ranks == 1:
        return [pack(lengths, budget_tokens)]
    bins = pack(lengths, budget_tokens)
    loads = [0] * num_ranks
    per_rank: list[list[list[int]]] = [[] for _ in range(num_ranks)]
    for packed in sorted(bins, key=lambda b: (-sum(lengths[i] for i in b), b[0])):
        rank = min(range(num_ranks), key=lambda r: (len(per_rank[r]), loads[r], r))
        per_rank[rank].append(packed)
        loads[rank] += sum(lengths[i] for i in packed)
    most = max(len(r) for r in per_rank)
    for rank in per_rank:
        rank.extend([] for _ in range(most - len(rank)))
    return per_rank
