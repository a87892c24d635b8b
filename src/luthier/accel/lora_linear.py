"""Linear layers with LoRA as one autograd function: W x + s · B (A x) without intermediate results of the layer's size.

PEFT's own forward makes three tensors of the output's size (base, update, scaled update) and their sum; here the update is
added in place, and backward adds every part of the input gradient in place. Layers that read the same input (queries, keys
and values; gate and up) are one function: x is read once for all their A, and saved once.

    y_i = x W_iᵀ + s_i (x A_iᵀ) B_iᵀ        dh_i = s_i · g_i B_i        dx = Σ_i g_i W_i + dh_i A_i
                                            dA_i = dh_iᵀ x              dB_i = s_i · g_iᵀ h_i

Reference: `peft.tuners.lora.layer.Linear.forward`.

Shape letters: T tokens, I inputs, O outputs, R rank; N layers side by side, with NR the sum of their ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as PeftLoraLinear
from torch import Tensor, nn
from torch.nn.functional import linear

from luthier.accel.registry import Applies

READ_THE_SAME_INPUT = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Names of layers that transformers' models call with one and the same tensor. Layers that are called otherwise compute alone."""


QUANTISED = ("Linear4bit", "Linear8bitLt")
"""bitsandbytes' layers, by name: the package may be absent."""


class LoraProducts(torch.autograd.Function):
    """Each W frozen, each A and B trained."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scales: tuple[float, ...], *weights: Tensor | None) -> tuple[Tensor, ...]:
        """X [..., I] and W, bias, A, B of each layer → one [..., O] per layer."""
        layers = list(zip(*(weights[i::4] for i in range(4)), strict=True))
        x_TI = x.reshape(-1, x.shape[-1])
        ranks = [A.shape[0] for _, _, A, _ in layers]
        A_NRI = _stacked([A for _, _, A, _ in layers])
        h_TNR = x_TI @ A_NRI.t()
        outputs = []
        for (W, bias, _, B), h_TR, scale in zip(layers, h_TNR.split(ranks, dim=1), scales, strict=True):
            y_TO = linear(x_TI, W, bias)
            y_TO.addmm_(h_TR, B.t(), alpha=scale)
            outputs.append(y_TO.view(*x.shape[:-1], -1))
        ctx.save_for_backward(x_TI, h_TNR, A_NRI, *(W for W, *_ in layers), *(B for *_, B in layers))
        ctx.scales, ctx.ranks, ctx.shape = scales, ranks, x.shape
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x and of each A and B."""
        x_TI, h_TNR, A_NRI, *rest = ctx.saved_tensors
        Ws, Bs = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        g_TOs = [g.reshape(-1, g.shape[-1]) for g in grad_outputs]
        dh_TRs = [(g @ B).mul_(scale) for g, B, scale in zip(g_TOs, Bs, ctx.scales, strict=True)]
        dh_TNR = dh_TRs[0] if len(dh_TRs) == 1 else torch.cat(dh_TRs, dim=1)
        dAs = (dh_TNR.t() @ x_TI).split(ctx.ranks)
        hs_TR = h_TNR.split(ctx.ranks, dim=1)
        # hᵀ g and turned, not gᵀ h: a CPU makes long rows faster than long columns.
        dBs = [(h.t() @ g).mul_(scale).t() for g, h, scale in zip(g_TOs, hs_TR, ctx.scales, strict=True)]
        dx: Tensor | None = None
        if ctx.needs_input_grad[0]:
            dx_TI = g_TOs[0] @ Ws[0]
            for g_TO, W in zip(g_TOs[1:], Ws[1:], strict=True):
                dx_TI.addmm_(g_TO, W)
            dx = dx_TI.addmm_(dh_TNR, A_NRI).view(ctx.shape)
        return dx, None, *(grad for dA, dB in zip(dAs, dBs, strict=True) for grad in (None, None, dA, dB))


def _stacked(matrices: Sequence[Tensor]) -> Tensor:
    return matrices[0] if len(matrices) == 1 else torch.cat(list(matrices))


class _Siblings:
    """Layers that read the same input: whichever is called first computes all of them, and the others find their result.

    A result is given out once, and only to a call with the very tensor, unchanged, that it was computed from.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self._layers = list(layers)
        self._input: tuple[Tensor, int] | None = None
        self._waiting: dict[int, Tensor] = {}

    def forward(self, layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """What `layer` makes of `x`."""
        if args or kwargs or torch.is_autocast_enabled(x.device.type) or not _is_plain(layer):
            return PeftLoraLinear.forward(layer, x, *args, **kwargs)
        if len(self._layers) == 1 or not torch.is_grad_enabled():
            return _products([layer], x)[0]
        if self._input is not None and self._input[0] is x and self._input[1] == x._version:
            found = self._waiting.pop(id(layer), None)
            if not self._waiting:
                self._input = None
            if found is not None:
                return found
        together = [layer, *(other for other in self._layers if other is not layer and _is_plain(other))]
        result, *others = _products(together, x)
        self._waiting = {id(other): y for other, y in zip(together[1:], others, strict=True)}
        self._input = (x, x._version) if others else None
        return result


def _is_plain(layer: Any) -> bool:
    """Whether the layer's live state asks for one plain adapter: not switched off, merged, one of several, mixed in a batch."""
    adapters = layer.active_adapters
    return not layer.disable_adapters and not layer.merged and len(adapters) == 1 and adapters[0] in layer.lora_A


def _products(layers: Sequence[Any], x: Tensor) -> tuple[Tensor, ...]:
    weights: list[Tensor | None] = []
    for layer in layers:
        base, adapter = layer.get_base_layer(), layer.active_adapters[0]
        weights += [base.weight, base.bias, layer.lora_A[adapter].weight, layer.lora_B[adapter].weight]
    apply: Any = LoraProducts.apply
    return apply(x, tuple(layer.scaling[layer.active_adapters[0]] for layer in layers), *weights)


class FusedLoraLinear:
    """Puts `LoraProducts` into every LoRA layer of a model, instance by instance.

    A layer takes PEFT's forward whenever its live state asks for something else than one plain adapter: switched off,
    merged, several at once, mixed in a batch.
    """

    name = "fused LoRA linear"
    reference = "peft.tuners.lora.layer.Linear.forward"

    def applies_to(self, model: nn.Module) -> Applies:
        """LoRA on plain linear layers, without dropout and without DoRA, in one number format."""
        layers = list(_lora_layers(model))
        if not layers and any(type(module).__name__ in QUANTISED for module in model.modules()):
            return Applies(False, "the weights are quantised: bitsandbytes multiplies with them itself")
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
        together = list(_groups(model))
        alone = [[layer] for layer in layers if not any(layer is member for group in together for member in group)]
        for group in (*together, *alone):
            siblings = _Siblings(group)
            for layer in group:
                layer.forward = partial(siblings.forward, layer)

        def undo() -> None:
            for layer in layers:
                del layer.forward

        return undo


def _is_lora_layer(module: Any) -> bool:
    return type(module) is PeftLoraLinear and type(module.get_base_layer()) is nn.Linear


def _lora_layers(model: nn.Module) -> Iterator[Any]:
    return (module for module in model.modules() if _is_lora_layer(module))


def _groups(model: nn.Module) -> Iterator[list[Any]]:
    """LoRA layers of one block that are named in `READ_THE_SAME_INPUT`, where there are at least two."""
    for block in model.modules():
        children = dict(block.named_children())
        for names in READ_THE_SAME_INPUT:
            group = [children[name] for name in names if name in children and _is_lora_layer(children[name])]
            if len(group) > 1:
                yield group
