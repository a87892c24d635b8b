"""LoRA as a GGUF adapter, which llama.cpp puts beside a base at start or per request.

llama.cpp scales by one α over the rank of each pair. Where that is not what was trained (rsLoRA, patterns), B carries the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGUFReader, GGUFWriter
from numpy.typing import NDArray

from luthier.errors import ModelError
from luthier.export.changes import LoraUpdate
from luthier.export.gguf.architecture import Family, family_of, tensor_name, transform
from luthier.export.peft_folder import PeftFolder

_ALPHA_KEY = "adapter.lora.alpha"


@dataclass(frozen=True, eq=False)
class LoraPlan:
    """An adapter file.

    Attributes:
        alpha: The one that the file names.
        pairs: Updates by llama.cpp's name of the tensor, and transformers'.
    """

    family: Family
    alpha: float
    pairs: tuple[tuple[str, str, LoraUpdate], ...]

    @property
    def num_bytes(self) -> int:
        """Of all A and B, in fp32."""
        return sum(4 * (update.down_RI.numel() + update.up_OR.numel()) + 200 for _, _, update in self.pairs)


def plan_lora(adapter: PeftFolder, config: Any) -> LoraPlan:
    """Names of all pairs.

    Raises:
        ModelError: The family has no mapping, or the adapter is more than pairs of A and B.
    """
    family = family_of(config)
    pairs: list[tuple[str, str, LoraUpdate]] = []
    for name, changes in adapter.changes.items():
        (change, *more) = changes
        if more or not isinstance(change, LoraUpdate):
            raise ModelError(
                f"The adapter changes {name} by more than LoRA's A and B ({adapter.kind}, {type(change).__name__}), for which "
                "a GGUF adapter has no place. Export the whole model: --to gguf."
            )
        pairs.append((tensor_name(family, config, name), name, change))
    first = pairs[0][2]
    return LoraPlan(family, first.scale * first.down_RI.shape[0], tuple(pairs))


def write_lora(plan: LoraPlan, path: Path, *, name: str, config: Any) -> None:
    """Write the file, in fp32: adapters are small."""
    writer = GGUFWriter(str(path), MODEL_ARCH_NAMES[plan.family.arch])
    writer.add_name(name)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32(_ALPHA_KEY, plan.alpha)
    for own, source, update in plan.pairs:
        down, up = update.down_RI.float(), update.up_OR.float()
        if update.transposed:
            raise ModelError(f"{source} is stored with inputs first, which GGUF adapters do not know.")
        rest = update.scale * down.shape[0] / plan.alpha
        rows = transform(plan.family, config, source, (up * rest).numpy())
        writer.add_tensor(f"{own}.lora_a", np.ascontiguousarray(down.numpy()))
        writer.add_tensor(f"{own}.lora_b", np.ascontiguousarray(rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_updates(path: Path) -> dict[str, NDArray[np.float32]]:
    """The update of each tensor as llama.cpp computes it: (α / rank) B A, by its name there."""
    reader = GGUFReader(path)
    alpha = float(reader.fields[_ALPHA_KEY].contents())
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    updates: dict[str, NDArray[np.float32]] = {}
    for name, down in tensors.items():
        if name.endswith(".lora_a"):
            up = tensors[name.removesuffix("a") + "b"]
            updates[name.removesuffix(".lora_a")] = alpha / down.shape[0] * (up @ down)
    return updates


def largest_difference(plan: LoraPlan, path: Path, config: Any) -> float:
    """Between the updates of a file and the adapter's, relative to the largest number of each."""
    found = read_updates(path)
    worst = 0.0
    for own, source, update in plan.pairs:
        with torch.no_grad():
            expected = transform(plan.family, config, source, update.delta().numpy())
        if own not in found or found[own].shape != expected.shape:
            return float("inf")
        scale = float(np.abs(expected).max()) or 1.0
        worst = max(worst, float(np.abs(found[own] - expected).max()) / scale)
    return worst if len(found) == len(plan.pairs) else float("inf")
