"""Writes safetensors tensor by tensor: the header is planned from shapes, so no more than one tensor is in memory."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from luthier.export.weight_files import dtype_name

SHARD_BYTES = 4_000_000_000
INDEX_FILE = "model.safetensors.index.json"


class PlannedTensor(NamedTuple):
    """A tensor that will be written."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """As it will be stored."""
        return math.prod(self.shape) * self.dtype.itemsize


class Shard(NamedTuple):
    """A file with its tensors, in order."""

    file_name: str
    tensors: tuple[PlannedTensor, ...]


def plan_shards(tensors: Sequence[PlannedTensor], most_bytes: int = SHARD_BYTES) -> list[Shard]:
    """Cut into files of at most `most_bytes`, unless a single tensor is larger; one file has the plain name."""
    groups: list[list[PlannedTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and size + tensor.num_bytes > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.num_bytes
    if len(groups) == 1:
        return [Shard("model.safetensors", tuple(groups[0]))]
    count = len(groups)
    return [Shard(f"model-{i:05d}-of-{count:05d}.safetensors", tuple(g)) for i, g in enumerate(groups, 1)]


class ShardWriter:
    """One safetensors file, filled in the planned order. A context manager; closing flushes to disk."""

    def __init__(self, folder: Path, shard: Shard) -> None:
        self._shard = shard
        self._next = 0
        self._file = (folder / shard.file_name).open("wb")
        header: dict[str, object] = {"__metadata__": {"format": "pt"}}
        offset = 0
        for tensor in shard.tensors:
            end = offset + tensor.num_bytes
            header[tensor.name] = {
                "dtype": dtype_name(tensor.dtype),
                "shape": list(tensor.shape),
                "data_offsets": [offset, end],
            }
            offset = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._file.write(struct.pack("<Q", len(text)) + text)

    def __enter__(self) -> ShardWriter:
        return self

    def write(self, tensor: Tensor) -> None:
        """The next tensor of the plan."""
        planned = self._shard.tensors[self._next]
        assert tuple(tensor.shape) == planned.shape, (planned.name, tensor.shape, planned.shape)
        assert tensor.dtype == planned.dtype, (planned.name, tensor.dtype, planned.dtype)
        self._file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self._next += 1

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def write_index(folder: Path, shards: Sequence[Shard]) -> None:
    """Which file holds which tensor; only where there are several files."""
    if len(shards) == 1:
        return
    content = {
        "metadata": {"total_size": sum(t.num_bytes for shard in shards for t in shard.tensors)},
        "weight_map": {tensor.name: shard.file_name for shard in shards for tensor in shard.tensors},
    }
    (folder / INDEX_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
