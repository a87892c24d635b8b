"""SwiGLU, silu(gate) · up, as one autograd function: it keeps its two inputs and nothing else.

    h = σ(a) · a · b        da = g · b · σ(a) · (1 + a · (1 − σ(a)))        db = g · silu(a)

Transformers' own form keeps silu(gate) too, a third tensor of the widest size in the model.

Reference: `transformers.models.llama.modeling_llama.LlamaMLP.forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from luthier.accel.registry import Applies

KNOWN = frozenset({"LlamaMLP", "Qwen2MLP", "Qwen3MLP", "MistralMLP", "SmolLM3MLP"})
"""Classes that compute ``down_proj(act_fn(gate_proj(x)) * up_proj(x))``."""


class SwigluProduct(torch.autograd.Function):
    """silu(gate) · up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """Both [..., I] → [..., I]."""
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of gate and up."""
        gate, up = ctx.saved_tensors
        grad = grad_outputs[0]
        d_gate = torch.ops.aten.silu_backward(grad * up, gate)
        return d_gate, silu(gate).mul_(grad)


class FusedSwiglu:
    """Puts `SwigluProduct` into the MLPs of a model."""

    name = "fused SwiGLU"
    reference = "transformers.models.llama.modeling_llama.LlamaMLP.forward"

    def applies_to(self, model: nn.Module) -> Applies:
        """Known MLP classes whose activation is silu."""
        mlps = list(_mlps(model))
        if not mlps:
            return Applies(False, "the model has no SwiGLU of a known kind")
        return Applies(True, f"{len(mlps)} MLPs")

    def apply(self, model: nn.Module) -> Callable[[], None]:
        """Give each MLP a forward of its own."""
        mlps = list(_mlps(model))
        for mlp in mlps:
            mlp.forward = partial(_fused_forward, mlp)

        def undo() -> None:
            for mlp in mlps:
                del mlp.forward

        return undo


def _mlps(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        mlp: Any = module
        if type(module).__name__ in KNOWN and mlp.config.hidden_act in ("silu", "swish"):
            yield mlp


def _fused_forward(mlp: Any, x: Tensor) -> Tensor:
    product: Any = SwigluProduct.apply
    return mlp.down_proj(product(mlp.gate_proj(x), mlp.up_proj(x)))
