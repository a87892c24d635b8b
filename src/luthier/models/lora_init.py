"""Where a LoRA's A and B begin, beyond what PEFT's constructor does: PiSSA and LoftQ, both from singular vectors.

    PiSSA   B A = largest singular parts of W, which are taken out of the frozen weight       (Meng et al. 2024, eq. 2-5)
    LoftQ   B A = largest singular parts of W − Q, Q being the quantised weight               (Li et al. 2023, one iteration)

Shape letters: O outputs, I inputs, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora.layer import LoraLayer
from safetensors import safe_open
from torch import Tensor

from luthier.errors import ModelError
from luthier.models.fixed_update import attach

EXACT_WIDTH = 1024
"""Up to this width the decomposition is exact; wider weights take `SUBSPACE_ITERATIONS`, which PEFT's guide advises for PiSSA."""
SUBSPACE_ITERATIONS = 16


class Factors(NamedTuple):
    """A [R, I] and B [O, R] in fp32."""

    A: Tensor
    B: Tensor


def largest_parts(weight_OI: Tensor, rank: int, scale: float) -> Factors:
    """A and B with  scale · B A = the `rank` largest singular parts of a matrix, their sizes split evenly between A and B."""
    matrix = weight_OI.float()
    if min(matrix.shape) <= EXACT_WIDTH:
        U, S, Vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        U, S, V = torch.svd_lowrank(matrix, q=rank, niter=SUBSPACE_ITERATIONS)
        Vh = V.t()
    root_R = (S[:rank] / scale).sqrt()
    return Factors(root_R[:, None] * Vh[:rank], U[:, :rank] * root_R)


def _layers(model: PeftModel, adapter: str) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        if isinstance(module, LoraLayer) and adapter in module.lora_A:
            yield name, module


def _set(layer: Any, adapter: str, factors: Factors, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    A, B = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    if factors.A.shape != A.shape:
        raise ModelError(
            f"adapter.rank is {A.shape[0]}, but a weight of {factors.B.shape[0]} × {factors.A.shape[1]} has only "
            f"{factors.A.shape[0]} singular vectors to begin with. Lower adapter.rank, or leave adapter.init at kaiming."
        )
    A.data, B.data = factors.A.to(dtype).contiguous(), factors.B.to(dtype).contiguous()
    return A, B


@torch.no_grad()
def begin_with_pissa(model: PeftModel, dtype: torch.dtype, adapter: str = "default") -> None:
    """Move the largest parts of each adapted weight into A and B, which get the format `dtype`.

    What is left in the weight is computed from A and B as rounded to `dtype`, so that both together are the weight again, up to
    one rounding of the weight's own format. What was taken out is noted, so that the result can be saved for the whole base.
    """
    for _, layer in _layers(model, adapter):
        weight, scale = layer.get_base_layer().weight, float(layer.scaling[adapter])
        A, B = _set(layer, adapter, largest_parts(weight, layer.r[adapter], scale), dtype)
        weight.data = (weight.float() - scale * (B.float() @ A.float())).to(weight.dtype)
        attach(layer, A, B, -scale)


@torch.no_grad()
def begin_with_loftq(model: PeftModel, folder: Path, dtype: torch.dtype, adapter: str = "default") -> None:
    """Let A and B begin with what 4-bit quantisation took away from each adapted weight.

    Args:
        model: LoRA on bitsandbytes' 4-bit layers.
        folder: Where the weights are that were quantised, as safetensors.

    Raises:
        ModelError: A weight is not found there by its name.
    """
    import bitsandbytes

    bnb: Any = bitsandbytes
    files = {
        key: path
        for path in sorted(folder.glob("*.safetensors"))
        for key in safe_open(path, framework="pt").keys()  # noqa: SIM118 - not a dict
    }
    for name, layer in _layers(model, adapter):
        quantised = layer.get_base_layer().weight
        key = f"{name.removeprefix('base_model.model.')}.weight"
        if key not in files:
            raise ModelError(
                f"adapter.init: loftq needs the weight '{key}', which {folder} does not hold by that name."
            )
        with safe_open(files[key], framework="pt") as file:
            original = file.get_tensor(key).to(quantised.device, torch.float32)
        kept = bnb.functional.dequantize_4bit(quantised.data, quantised.quant_state).float()
        scale = float(layer.scaling[adapter])
        _set(layer, adapter, largest_parts(original - kept, layer.r[adapter], scale), dtype)
