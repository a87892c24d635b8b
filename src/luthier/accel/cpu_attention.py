"""Attention per segment on a CPU as one autograd function: no copy of a whole tensor per segment, fp32 inside short segments.

Torch's CPU flash kernel takes twice as long for bf16 as for fp32 over a segment of 138 tokens (two and a half times in the
backward pass alone), and no longer than fp32 from about 400 tokens on; short segments are therefore computed in fp32,
which is more exact too. Saved for the backward pass are inputs and output as they are, and one number per query.

Reference: `attention._per_segment` with `attention._sdpa_segment`.

Shape letters: B = 1, H query heads, K key/value heads, T tokens, D head width, Q and C query and context lengths of a segment.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from luthier.data.batch import SegmentTable

LONGEST_FP32_TOKENS = 384
"""Contexts up to this length are computed in fp32 whatever the compute type."""

_forward_op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward_op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class _Piece(NamedTuple):
    """One segment: its queries, and where its keys lie."""

    queries: slice
    context: tuple[slice, ...]
    mask_QC: Tensor | None
    dtype: torch.dtype


@lru_cache(maxsize=256)
def additive_mask(num_queries: int, num_keys: int, window: int | None, dtype: torch.dtype) -> Tensor:
    """0 where query q (the last of the keys) may see key k, −inf elsewhere; see `attention.lower_right_mask`."""
    from luthier.accel.attention import lower_right_mask

    allowed_QC = lower_right_mask(num_queries, num_keys, window, torch.device("cpu"))
    return torch.zeros(num_queries, num_keys, dtype=dtype).masked_fill_(~allowed_QC, float("-inf"))


def _pieces(table: SegmentTable, window: int | None, dtype: torch.dtype) -> Iterator[_Piece]:
    for index, (start, length) in enumerate(zip(table.starts, table.lengths, strict=True)):
        chain = (*table.ancestors(index), index)
        num_keys = sum(table.lengths[i] for i in chain)
        work = torch.float32 if num_keys <= LONGEST_FP32_TOKENS else dtype
        plain = num_keys == length and (window is None or num_keys <= window)
        yield _Piece(
            queries=slice(start, start + length),
            context=tuple(slice(table.starts[i], table.starts[i] + table.lengths[i]) for i in chain),
            mask_QC=None if plain else additive_mask(length, num_keys, window, work),
            dtype=work,
        )


def _keys(x_BKTD: Tensor, piece: _Piece, groups: int) -> Tensor:
    """Keys or values of a segment in its working type, one copy per query head."""
    parts = [x_BKTD[:, :, where] for where in piece.context]
    x_BKCD = (torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]).to(piece.dtype)
    return x_BKCD.repeat_interleave(groups, dim=1) if groups > 1 else x_BKCD


class SegmentAttention(torch.autograd.Function):
    """softmax(scale · q kᵀ) v within each segment and its ancestors, causal."""

    @staticmethod
    def forward(
        ctx: Any, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, table: SegmentTable, scale: float, window: int | None
    ) -> Tensor:
        """Output [B, H, T, D] in the inputs' type."""
        groups = q_BHTD.shape[1] // k_BKTD.shape[1]
        out_BTHD = q_BHTD.new_empty(q_BHTD.shape[0], q_BHTD.shape[2], q_BHTD.shape[1], q_BHTD.shape[3])
        out_BHTD = out_BTHD.transpose(1, 2)  # laid out as the next layer reads it
        normalisers = []
        for piece in _pieces(table, window, q_BHTD.dtype):
            q = q_BHTD[:, :, piece.queries].to(piece.dtype)
            k, v = _keys(k_BKTD, piece, groups), _keys(v_BKTD, piece, groups)
            out, lse = _forward_op(q, k, v, 0.0, piece.mask_QC is None, attn_mask=piece.mask_QC, scale=scale)
            out_BHTD[:, :, piece.queries] = out
            normalisers.append(lse)
        ctx.save_for_backward(q_BHTD, k_BKTD, v_BKTD, out_BHTD, *normalisers)
        ctx.table, ctx.scale, ctx.window, ctx.groups = table, scale, window, groups
        return out_BHTD

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries, keys and values."""
        (grad_BHTD,) = grad_outputs
        q_BHTD, k_BKTD, v_BKTD, out_BHTD, *normalisers = ctx.saved_tensors
        dq_BHTD = torch.empty_like(q_BHTD)
        # Children add to their ancestors' keys: summed in fp32 where there are any.
        total = torch.float32 if ctx.table.has_parents else k_BKTD.dtype
        dk_BKTD, dv_BKTD = torch.zeros_like(k_BKTD, dtype=total), torch.zeros_like(v_BKTD, dtype=total)
        for piece, lse in zip(_pieces(ctx.table, ctx.window, q_BHTD.dtype), normalisers, strict=True):
            q, grad, out = (x[:, :, piece.queries].to(piece.dtype) for x in (q_BHTD, grad_BHTD, out_BHTD))
            k, v = _keys(k_BKTD, piece, ctx.groups), _keys(v_BKTD, piece, ctx.groups)
            causal = piece.mask_QC is None
            dq, dk, dv = _backward_op(grad, q, k, v, out, lse, 0.0, causal, attn_mask=piece.mask_QC, scale=ctx.scale)
            dq_BHTD[:, :, piece.queries] = dq
            for total_BKTD, part_BHCD in ((dk_BKTD, dk), (dv_BKTD, dv)):
                part_BKCD = part_BHCD.unflatten(1, (-1, ctx.groups)).sum(dim=2) if ctx.groups > 1 else part_BHCD
                position = 0
                for where in piece.context:
                    length = where.stop - where.start
                    total_BKTD[:, :, where] += part_BKCD[:, :, position : position + length]
                    position += length
        return dq_BHTD, dk_BKTD.to(k_BKTD.dtype), dv_BKTD.to(v_BKTD.dtype), None, None, None
