"""RMSNorm with a frozen weight as one autograd function: one fp32 copy of x in each pass instead of five or more.

    y = w · x / sqrt(mean(x²) + ε)            dx = r · (g·w) − x · r³ · mean(g·w·x)      with r = 1 / sqrt(mean(x²) + ε)

The normalised value is rounded to the compute type before the weight multiplies it, as Llama's own module does. Saved for the
backward pass are x as it came and one number per row.

Reference: `transformers.models.llama.modeling_llama.LlamaRMSNorm.forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from luthier.accel.registry import Applies

KNOWN = frozenset(
    {
        "LlamaRMSNorm",
        "Qwen2RMSNorm",
        "Qwen3RMSNorm",
        "MistralRMSNorm",
        "Phi3RMSNorm",
        "GraniteRMSNorm",
        "SmolLM3RMSNorm",
    }
)
"""Classes that compute exactly this. Gemma's multiply by 1 + w in fp32 and are not among them."""


class RmsNormProduct(torch.autograd.Function):
    """The weight is frozen."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """X [..., H] → [..., H]."""
        x_H = x.float()
        r_1 = torch.linalg.vector_norm(x_H, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, r_1)
        return (x_H * r_1).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of x."""
        x, weight, r_1 = ctx.saved_tensors
        gw_H = (grad_outputs[0] * weight).float()
        x_H = x.float()
        along_1 = torch.linalg.vecdot(gw_H, x_H).unsqueeze(-1).mul_(r_1.pow(3)).div_(x.shape[-1])
        return gw_H.mul_(r_1).addcmul_(x_H, along_1, value=-1).to(x.dtype), None, None


class FusedRmsNorm:
    """Puts `RmsNormProduct` into the norms of a model whose norm weights are frozen."""

    name = "fused RMSNorm"
    reference = "transformers.models.llama.modeling_llama.LlamaRMSNorm.forward"

    def applies_to(self, model: nn.Module) -> Applies:
        """Known norm classes with frozen weights in the compute type."""
        norms = list(_norms(model))
        if not norms:
            return Applies(False, "the model has no RMSNorm of a known kind")
        if any(norm.weight.requires_grad for norm in norms):
            return Applies(False, "the norms' weights are trained")
        return Applies(True, f"{len(norms)} norms with frozen weights")

    def apply(self, model: nn.Module) -> Callable[[], None]:
        """Give each norm a forward of its own."""
        norms = list(_norms(model))
        for norm in norms:
            norm.forward = MethodType(_fused_forward, norm)

        def undo() -> None:
            for norm in norms:
                del norm.forward

        return undo


def _norms(model: nn.Module) -> Iterator[Any]:
    for module in model.modules():
        if type(module).__name__ in KNOWN:
            yield module


def _fused_forward(norm: Any, hidden_states: Tensor) -> Tensor:
    product: Any = RmsNormProduct.apply
    return product(hidden_states, norm.weight, norm.variance_epsilon)
