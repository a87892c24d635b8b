"""Attention of a generation step over `SlotMemory`: registered with transformers as ``luthier_slots``.

The step travels as the keyword ``slots`` through the model's forward. Rows that bring one token each are computed together; the
query heads that share a key/value head stand where queries stand, so keys are read once and not repeated per head.
A prompt is computed row by row, over what its slot already holds.

Shape letters: R rows of one token, H query heads, K key/value heads, G = H / K, T new tokens, C entries, D head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from transformers import AttentionInterface, AttentionMaskInterface

from luthier.accel.attention import eager_segment, sdpa_segment
from luthier.errors import ModelError
from luthier.generate.slots import Step

NAME = "luthier_slots"


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - transformers' signature; the step says it all
    dropout: float = 0.0,  # noqa: ARG001 - nothing is dropped in generation
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    slots: Step | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    layer: int | None = getattr(module, "layer_idx", None)
    if slots is None or layer is None:
        raise ModelError(
            f"{type(module).__name__} does not tell its attention what generation needs (the rows' slots, the layer's number). "
            "Generate with the model's own `generate` instead."
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    k_TKD, v_TKD = key[0].transpose(0, 1), value[0].transpose(0, 1)
    keys_SKCD, values_SKCD = slots.memory.layer(layer, k_TKD, v_TKD)
    if slots.one_each:
        rows = torch.arange(len(slots.pieces), device=query.device)
        places_R = torch.tensor([p.past for p in slots.pieces], device=query.device)
        keys_SKCD[rows, :, places_R], values_SKCD[rows, :, places_R] = k_TKD, v_TKD
        out_RHD = _one_each(query[0].transpose(0, 1), keys_SKCD, values_SKCD, slots, scale, sliding_window, softcap)
        return out_RHD[None], None
    attend: Callable[..., Tensor] = sdpa_segment
    options: dict[str, Any] = {"scale": scale, "dropout": 0.0, "window": sliding_window}
    if softcap is not None:
        attend, options["softcap"] = eager_segment, softcap
    outputs = []
    for p in slots.pieces:
        new, end = slice(p.start, p.start + p.length), p.past + p.length
        keys_SKCD[p.slot, :, p.past : end], values_SKCD[p.slot, :, p.past : end] = key[0, :, new], value[0, :, new]
        seen = (keys_SKCD[p.slot : p.slot + 1, :, :end], values_SKCD[p.slot : p.slot + 1, :, :end])
        outputs.append(attend(query[:, :, new], *seen, **options))
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _one_each(
    q_RHD: Tensor,
    keys_SKCD: Tensor,
    values_SKCD: Tensor,
    step: Step,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    rows, kv_heads = len(step.pieces), keys_SKCD.shape[1]
    q_RKGD = q_RHD.unflatten(1, (kv_heads, -1))
    k_RKCD, v_RKCD = keys_SKCD[:rows, :, : step.longest], values_SKCD[:rows, :, : step.longest]
    mask_R11C = step.mask(window, q_RHD)
    if softcap is None:
        out_RKGD = F.scaled_dot_product_attention(q_RKGD, k_RKCD, v_RKCD, attn_mask=mask_R11C, scale=scale)
    else:
        logits_RKGC = torch.tanh(q_RKGD @ k_RKCD.mT * scale / softcap) * softcap + mask_R11C
        out_RKGD = logits_RKGC.softmax(dim=-1, dtype=torch.float32).to(q_RHD.dtype) @ v_RKCD
    return out_RKGD.flatten(1, 2)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, lambda *_, **__: None)
