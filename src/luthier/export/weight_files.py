"""The tensors of a model folder, by name, read one at a time from its safetensors: a large model is never in memory whole."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from luthier.errors import ModelError

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "U32": torch.uint32,
    "BOOL": torch.bool,
}
"""safetensors' names of number formats."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def dtype_name(dtype: torch.dtype) -> str:
    """The name that safetensors has for a torch type."""
    return _NAMES[dtype]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies, and what it is."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path

    @property
    def num_bytes(self) -> int:
        """As stored."""
        return math.prod(self.shape) * self.dtype.itemsize


class WeightFiles:
    """All safetensors files of a folder, by the names of their tensors."""

    def __init__(self, tensors: dict[str, StoredTensor]) -> None:
        self.tensors = tensors

    @classmethod
    def open(cls, folder: Path) -> WeightFiles:
        """Read the headers alone.

        Raises:
            ModelError: There are no weights, or a file is damaged or missing.
        """
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            files = [folder / name for name in names]
            missing = [path.name for path in files if not path.is_file()]
            if missing:
                raise ModelError(f"{folder} lacks {missing[0]}, which its index names. The download is incomplete.")
        else:
            files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError(f"{folder} holds no safetensors weights; other formats are not read.")
        return cls({tensor.name: tensor for path in files for tensor in _read_header(path)})

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[StoredTensor]:
        return iter(self.tensors.values())

    def read(self, name: str) -> Tensor:
        """One tensor, as it is stored."""
        with safe_open(self.tensors[name].file, framework="pt") as file:
            return file.get_tensor(name)

    @property
    def num_bytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.num_bytes for tensor in self)

    @property
    def num_parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self)


def _read_header(path: Path) -> Iterator[StoredTensor]:
    try:
        with safe_open(path, framework="pt"):
            pass  # it checks that the file is as long as its header says
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
    except (SafetensorError, struct.error, ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}. Fetch or write it again.") from error
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in DTYPES:
            raise ModelError(f"{path}: {name} is stored as {entry['dtype']}, which is not read here.")
        yield StoredTensor(name, tuple(entry["shape"]), DTYPES[entry["dtype"]], path)
