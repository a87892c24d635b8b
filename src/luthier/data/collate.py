"""Examples into one `Batch`: concatenated, with positions, the segment table and the supervised positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from luthier.data.batch import Batch, SegmentTable, TargetTable
from luthier.data.example import Example, Part


def collate(examples: Sequence[Example]) -> Batch:
    """Lay examples end to end.

    A token with weight is predicted by the hidden state before it: in its own segment, or, for the first token of a child,
    at the last token of the parent. The first token of a parentless segment cannot be predicted and must weigh nothing.
    """
    assert examples, "a batch needs at least one example"
    starts: list[int] = []
    lengths: list[int] = []
    parents: list[int] = []
    context: list[int] = []
    rows: list[int] = []
    parts: list[Part] = []
    references: list[float] = []
    ids, positions, target_ids, target_positions, target_weights, target_segments = [], [], [], [], [], []
    position = 0
    for example in examples:
        first = len(starts)
        for segment in example.segments:
            index, length = len(starts), len(segment.ids)
            parent = first + segment.parent if segment.parent >= 0 else -1
            before = context[parent] + lengths[parent] if parent >= 0 else 0
            predictors = np.arange(position - 1, position + length - 1)
            predictors[0] = starts[parent] + lengths[parent] - 1 if parent >= 0 else -1
            trained = np.flatnonzero(segment.weights)
            assert parent >= 0 or segment.weights[0] == 0, (
                f"row {example.row}: its first token has nothing to predict it"
            )
            ids.append(segment.ids)
            positions.append(np.arange(before, before + length))
            target_ids.append(segment.ids[trained])
            target_positions.append(predictors[trained])
            target_weights.append(segment.weights[trained])
            target_segments.append(np.full(len(trained), index))
            starts.append(position)
            lengths.append(length)
            parents.append(parent)
            context.append(before)
            rows.append(example.row if segment.row is None else segment.row)
            parts.append(segment.part)
            references.append(segment.reference)
            position += length
    return Batch(
        input_ids_T=_tensor(ids, torch.int64),
        position_ids_T=_tensor(positions, torch.int64),
        segments=SegmentTable(tuple(starts), tuple(lengths), tuple(parents)),
        targets=TargetTable(
            ids_S=_tensor(target_ids, torch.int64),
            positions_S=_tensor(target_positions, torch.int64),
            weights_S=_tensor(target_weights, torch.float32),
            segments_S=_tensor(target_segments, torch.int64),
        ),
        rows=tuple(rows),
        parts=tuple(parts),
        reference_N=torch.tensor(references),
    )


def _tensor(parts: list[np.ndarray], dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts)).to(dtype)
