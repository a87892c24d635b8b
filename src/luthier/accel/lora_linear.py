"""Linear layer with LoRA as one autograd function: W x + s · B (A x) without intermediate results of the layer's size.

PEFT's own forward makes three tensors of the output's size (base, update, scaled update) and their sum; here the update is
added in place, and backward adds A's part to the input gradient in place. x is saved once.

    y = x Wᵀ + s (x Aᵀ) Bᵀ            dh = s · g B        dx = g W + dh A        dA = dhᵀ x        dB = s · gᵀ h

Reference: `peft.tuners.lora.layer.Linear.forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as PeftLoraLinear
from torch import Tensor, nn
from torch.nn.functional import linear

from luthier.accel.registry import Applies


class LoraProduct(torch.autograd.Function):
    """W frozen, A and B trained."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, scale: float) -> Tensor:
        """X [..., in] → [..., out]."""
        x_TI = x.reshape(-1, x.shape[-1])
        y_TO = linear(x_TI, W, bias)
        h_TR = x_TI @ A.t()
        y_TO.addmm_(h_TR, B.t(), alpha=scale)
        ctx.save_for_backward(x_TI, W, A, B, h_TR)
        ctx.scale, ctx.shape = scale, x.shape
        return y_TO.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, A and B."""
        x_TI, W, A, B, h_TR = ctx.saved_tensors
        g_TO = grad_outputs[0].reshape(-1, W.shape[0])
        dh_TR = (g_TO @ B).mul_(ctx.scale)
        dA, dB = dh_TR.t() @ x_TI, (g_TO.t() @ h_TR).mul_(ctx.scale)
        dx: Tensor | None = None
        if ctx.needs_input_grad[0]:
            dx = (g_TO @ W).addmm_(dh_TR, A).view(ctx.shape)
        return dx, None, None, dA, dB, None


class FusedLoraLinear:
    """Puts `LoraProduct` into every LoRA layer of a model, instance by instance.

    A layer takes PEFT's forward whenever its live state asks for something else than one plain adapter: switched off,
    merged, several at once, mixed in a batch.
    """

    name = "fused LoRA linear"
    reference = "peft.tuners.lora.layer.Linear.forward"

    def applies_to(self, model: nn.Module) -> Applies:
        """LoRA on plain linear layers, without dropout and without DoRA, in one number format."""
        layers = list(_lora_layers(model))
        if not layers:
            return Applies(False, "the model has no LoRA layers on plain linear layers")
        for layer in layers:
            for adapter in layer.lora_A:
                if not isinstance(layer.lora_dropout[adapter], nn.Identity):
                    return Applies(False, "LoRA dropout is above 0: each use of x would need its own mask")
                if layer.lora_variant.get(adapter) is not None:
                    return Applies(False, "a LoRA variant (such as DoRA) changes the product")
                if layer.lora_A[adapter].weight.dtype != layer.get_base_layer().weight.dtype:
                    return Applies(False, "adapters are in another number format than the weights (fp16 training)")
                if layer.lora_B[adapter].bias is not None:
                    return Applies(False, "the adapter has a bias")
        return Applies(True, f"{len(layers)} LoRA layers without dropout")

    def apply(self, model: nn.Module) -> Callable[[], None]:
        """Give each layer a forward of its own."""
        layers = list(_lora_layers(model))
        for layer in layers:
            layer.forward = MethodType(_fused_forward, layer)

        def undo() -> None:
            for layer in layers:
                del layer.forward

        return undo


def _lora_layers(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        if type(module) is PeftLoraLinear and type(module.get_base_layer()) is nn.Linear:
            yield module


def _fused_forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    adapters = layer.active_adapters
    plain = not (args or kwargs or layer.disable_adapters or layer.merged) and len(adapters) == 1
    if not plain or adapters[0] not in layer.lora_A or torch.is_autocast_enabled(x.device.type):
        return PeftLoraLinear.forward(layer, x, *args, **kwargs)
    base, adapter = layer.get_base_layer(), adapters[0]
    A, B = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    product: Any = LoraProduct.apply
    return product(x, base.weight, base.bias, A, B, layer.scaling[adapter])
