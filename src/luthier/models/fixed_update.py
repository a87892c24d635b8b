"""Low-rank parts of a weight that are not trained but belong to the result: what PiSSA took out, what was merged in before.

The trained model computes  (W + Σ s_k B_k A_k) x + s B A x  with the sum already inside the weight. The published base has W
alone, so the saved adapter must bring the sum along: stacked factors are one LoRA of a higher rank,

    s [B | s_k/s B_k …] · [A ; A_k …]  =  s B A + Σ s_k B_k A_k

which plain PEFT opens on the original base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn

NAME = "fixed_update"
_PREFIX = "base_model.model."


class FixedUpdate(nn.Module):
    """One part: A [R, I], B [O, R] and their scale; child of the layer whose weight holds it. Not part of any state dict."""

    A: Tensor
    B: Tensor

    def __init__(self, A: Tensor, B: Tensor, scale: float) -> None:
        super().__init__()
        self.register_buffer("A", A.detach().clone(), persistent=False)
        self.register_buffer("B", B.detach().clone(), persistent=False)
        self.scale = scale


def attach(layer: nn.Module, A: Tensor, B: Tensor, scale: float) -> None:
    """Note that the layer's weight holds  scale · B A  beyond the base's."""
    count = sum(isinstance(child, FixedUpdate) for child in layer.children())
    layer.add_module(f"{NAME}_{count}", FixedUpdate(A, B, scale))


def fixed_updates(layer: nn.Module) -> list[FixedUpdate]:
    """The parts that a layer's weight holds."""
    return [child for child in layer.children() if isinstance(child, FixedUpdate)]


def has_fixed_updates(model: nn.Module) -> bool:
    """Whether switching the adapter off does not give the base that the model was loaded from."""
    return any(isinstance(module, FixedUpdate) for module in model.modules())


def _holders(model: PeftModel) -> Iterator[tuple[str, nn.Module]]:
    layers: list[tuple[str, nn.Module]] = list(model.named_modules())
    for name, module in layers:
        if isinstance(module, LoraLayer) or fixed_updates(module):
            yield name, module


def _stacked(layer: nn.Module, adapter: str) -> tuple[Tensor, Tensor, float]:
    """A, B and scale of all that a layer adds to the base's weight."""
    parts: list[tuple[Tensor, Tensor, float]] = []
    if isinstance(layer, LoraLayer):
        inner: Any = layer
        parts.append((inner.lora_A[adapter].weight, inner.lora_B[adapter].weight, float(layer.scaling[adapter])))
    parts += [(part.A, part.B, part.scale) for part in fixed_updates(layer)]
    scale = parts[0][2]
    A = torch.cat([a.detach() for a, _, _ in parts])
    B = torch.cat([b.detach() * (s / scale) for _, b, s in parts], dim=1)
    return A.contiguous(), B.contiguous(), scale


def stacked_tensors(model: PeftModel, tensors: dict[str, Tensor], adapter: str = "default") -> dict[str, Tensor]:
    """An adapter's tensors as they are saved, with the fixed parts stacked onto the trained ones.

    Args:
        model: A LoRA model whose layers hold fixed parts.
        tensors: The trained tensors by the names that PEFT saves them under.
    """
    whole = dict(tensors)
    for name, layer in _holders(model):
        A, B, _ = _stacked(layer, adapter)
        whole |= {f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": B}
    return whole


def stacked_config(model: PeftModel, config: dict[str, Any], adapter: str = "default") -> dict[str, Any]:
    """The adapter_config.json that belongs to `stacked_tensors`: each module's rank, and the alpha that gives its scale."""
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for name, layer in _holders(model):
        A, _, scale = _stacked(layer, adapter)
        key = name.removeprefix(_PREFIX)
        ranks[key], alphas[key] = A.shape[0], scale * A.shape[0]
    (rank, alpha), _ = Counter(zip(ranks.values(), alphas.values(), strict=True)).most_common(1)[0]
    return {
        **config,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {name: own for name, own in ranks.items() if own != rank},
        "alpha_pattern": {name: own for name, own in alphas.items() if own != alpha},
        "target_modules": sorted(ranks),
        "layers_to_transform": None,
        "use_rslora": False,
        "init_lora_weights": True,
    }
