"""Rows with different LoRA adapters, and rows without one, in one forward pass.

Every LoRA layer computes its base product once for all tokens and adds each adapter's update to the tokens of its rows.
Reference: `peft.tuners.lora.layer.Linear.forward` with one adapter active.

Shape letters: T tokens of the flat sequence, A those of one adapter, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from peft import PeftModel
from peft.tuners.lora.layer import Linear as PeftLoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn


class AdapterMix:
    """Which tokens of the present step belong to which adapter; tokens of none are answered by the base model."""

    def __init__(self) -> None:
        self.tokens: Mapping[str, Tensor] = {}

    def forward(self, layer: Any, x: Tensor) -> Tensor:
        """The layer for x [1, T, I] → [1, T, O]."""
        out = layer.get_base_layer()(x)
        for name, tokens_A in self.tokens.items():
            if name in layer.lora_A:
                update_AO = layer.lora_B[name](layer.lora_A[name](x[0, tokens_A]))
                out[0].index_add_(0, tokens_A, (update_AO * layer.scaling[name]).to(out.dtype))
        return out


def can_mix(model: nn.Module) -> bool:
    """Whether all adapters are LoRA on plain linear layers, unmerged and without variants, and nothing else is trained."""
    if not isinstance(model, PeftModel):
        return False
    layers: list[Any] = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    return bool(layers) and all(
        type(layer) is PeftLoraLinear
        and type(layer.get_base_layer()) is nn.Linear
        and not layer.merged
        and not layer.disable_adapters
        and not any(layer.lora_variant.values())
        for layer in layers
    )


@contextmanager
def mixing(model: nn.Module) -> Iterator[AdapterMix]:
    """Inside, the model's LoRA layers do what the mix says; afterwards they are as they were."""
    mix = AdapterMix()
    layers: list[Any] = [module for module in model.modules() if type(module) is PeftLoraLinear]
    before = [vars(layer).get("forward") for layer in layers]
    try:
        for layer in layers:
            layer.forward = partial(mix.forward, layer)
        yield mix
    finally:
        for layer, forward in zip(layers, before, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
