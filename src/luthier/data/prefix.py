"""Rows that begin alike share their beginning: a common system prompt goes through the model once per micro-batch.

The same mathematics with less work: a causal model gives a prefix the same hidden states whatever follows, and the gradients
of all rows meet in it. Only tokens that are not trained are shared, so no loss is counted differently. With dropout the rows
would share one draw: then nothing is shared.

Rows may be trees themselves: the prompts of preference pairs share what they begin with just as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from luthier.data.example import Example, Segment

LEAST_SHARED_TOKENS = 16
"""Shorter beginnings are not worth a segment of their own."""

_FIRST = LEAST_SHARED_TOKENS


def plan_sharing(examples: Sequence[Example], budget_tokens: int) -> list[Example]:
    """Merge rows with a common beginning into trees of at most `budget_tokens` (a single longer row stays as it is).

    Returns:
        Fewer, larger examples; those of rows that share nothing are the ones given. Deterministic, first rows first.
    """
    merged: list[Example] = []
    for group in _groups(examples, 0):
        prefix = _common_length(group, 0)
        if len(group) < 2 or prefix < _FIRST:
            merged.extend(group)
            continue
        for part in _fill(group, prefix, budget_tokens):
            merged.append(_tree(part) if len(part) > 1 else part[0])
    return merged


def _ids(example: Example) -> np.ndarray:
    return example.segments[0].ids


def _sharable_length(example: Example) -> int:
    """Tokens that may be shared: before the first trained one, and at least one is left for the row itself."""
    segment = example.segments[0]
    trained = np.flatnonzero(segment.weights)
    return min(int(trained[0]) if len(trained) else len(segment.ids), len(segment.ids) - 1)


def _groups(examples: Sequence[Example], offset: int) -> list[list[Example]]:
    """Rows whose next `LEAST_SHARED_TOKENS` are equal, in the order of their first members; others alone."""
    groups: dict[object, list[Example]] = defaultdict(list)
    for index, example in enumerate(examples):
        has_one_root = all(segment.parent >= 0 for segment in example.segments[1:])
        sharable = has_one_root and _sharable_length(example) >= offset + _FIRST
        key = _ids(example)[offset : offset + _FIRST].tobytes() if sharable else index
        groups[key].append(example)
    return list(groups.values())


def _common_length(group: Sequence[Example], offset: int) -> int:
    """Tokens from `offset` on that all rows of the group have in common and may share."""
    if len(group) < 2:
        return 0
    first = _ids(group[0])
    length = min(_sharable_length(example) for example in group)
    for example in group[1:]:
        different = np.flatnonzero(first[offset:length] != _ids(example)[offset:length])
        length = offset + int(different[0]) if len(different) else length
    return length - offset


def _fill(group: Sequence[Example], prefix: int, budget_tokens: int) -> list[list[Example]]:
    """Cut a group into parts whose prefix plus rests keep the budget."""
    parts: list[list[Example]] = []
    space = 0
    for example in group:
        rest = example.num_tokens - prefix
        if not parts or rest > space:
            parts.append([])
            space = budget_tokens - prefix
        parts[-1].append(example)
        space -= rest
    return parts


def _tree(group: Sequence[Example]) -> Example:
    segments: list[Segment] = []
    _grow(group, 0, -1, segments)
    return Example(group[0].row, tuple(segments))


def _grow(examples: Sequence[Example], offset: int, parent: int, segments: list[Segment]) -> None:
    """Append the segments of rows that have `offset` tokens in common already: shared parts first, then what they share."""
    for group in _groups(examples, offset):
        length = _common_length(group, offset)
        if length >= _FIRST:
            ids = _ids(group[0])[offset : offset + length]
            segments.append(Segment(ids, np.zeros(length, dtype=np.float32), parent, row=-1))
            _grow(group, offset + length, len(segments) - 1, segments)
            continue
        for example in group:
            root, *others = example.segments
            place = len(segments)
            row = example.row if root.row is None else root.row
            segments.append(replace(root, ids=root.ids[offset:], weights=root.weights[offset:], parent=parent, row=row))
            for segment in others:
                row = example.row if segment.row is None else segment.row
                segments.append(replace(segment, parent=place + segment.parent, row=row))
