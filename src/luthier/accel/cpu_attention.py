"""Attention per segment on a CPU as one autograd function: no copy of a whole tensor per segment, fp32 inside short segments.

Torch's CPU flash kernel takes twice as long for bf16 as for fp32 over a segment of 138 tokens (two and a half times in the
backward pass alone), and no longer than fp32 from about 400 tokens on; short segments are therefore computed in fp32,
which is more exact too. Saved for the backward pass are inputs and output as they are, and one number per query.

Reference: `attention._per_segment` with `attention._sdpa_segment`.

Shape letters: B = 1, H query heads, K key/value heads, T tokens, D head width, Q and C query and context lengths of a segment.
"""

from __future__ import annotations

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
    """One segment: its queries, where its keys lie, and in which type it is computed."""

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


def _pieces(table: SegmentTable, window: int | None, dtype: torch.dtype) -> list[_Piece]:
    pieces = []
    for index, (start, length) in enumerate(zip(table.starts, table.lengths, strict=True)):
        chain = (*table.ancestors(index), index)
        num_keys = sum(table.lengths[i] for i in chain)
        work = torch.float32 if num_keys <= LONGEST_FP32_TOKENS else dtype
        plain = num_keys == length and (window is None or num_keys <= window)
        piece = _Piece(
            queries=slice(start, start + length),
            context=tuple(slice(table.starts[i], table.starts[i] + table.lengths[i]) for i in chain),
            mask_QC=None if plain else additive_mask(length, num_keys, window, work),
            dtype=work,
        )
        pieces.append(piece)
    return pieces


class _ByType:
    """A tensor in each working type, one key/value head per query head, converted once for all segments."""

    def __init__(self, x: Tensor, groups: int = 1) -> None:
        self._x, self._groups = x, groups
        self._made: dict[torch.dtype, Tensor] = {}

    def part(self, dtype: torch.dtype, where: tuple[slice, ...]) -> Tensor:
        """The tokens at `where`, a view where they lie together."""
        if dtype not in self._made:
            converted = self._x.to(dtype)
            self._made[dtype] = converted.repeat_interleave(self._groups, dim=1) if self._groups > 1 else converted
        parts = [self._made[dtype][:, :, w] for w in where]
        return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]


class SegmentAttention(torch.autograd.Function):
    """softmax(scale · q kᵀ) v within each segment and its ancestors, causal."""

    @staticmethod
    def forward(
        ctx: Any, q_BHTD: Tensor, k_BKTD: Tensor, v_BKTD: Tensor, table: SegmentTable, scale: float, window: int | None
    ) -> Tensor:
        """Output [B, H, T, D] in the inputs' type."""
        groups = q_BHTD.shape[1] // k_BKTD.shape[1]
        pieces = _pieces(table, window, q_BHTD.dtype)
        q_by, k_by, v_by = _ByType(q_BHTD), _ByType(k_BKTD, groups), _ByType(v_BKTD, groups)
        batch, heads, tokens, width = q_BHTD.shape
        out_BHTD = q_BHTD.new_empty(batch, tokens, heads, width).transpose(1, 2)  # as the next layer reads it
        normalisers = []
        for piece in pieces:
            q = q_by.part(piece.dtype, (piece.queries,))
            k, v = k_by.part(piece.dtype, piece.context), v_by.part(piece.dtype, piece.context)
            out, lse = _forward_op(q, k, v, 0.0, piece.mask_QC is None, attn_mask=piece.mask_QC, scale=scale)
            out_BHTD[:, :, piece.queries] = out
            normalisers.append(lse)
        ctx.save_for_backward(q_BHTD, k_BKTD, v_BKTD, out_BHTD, *normalisers)
        ctx.pieces, ctx.scale, ctx.groups = pieces, scale, groups
        return out_BHTD

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries, keys and values; those of keys and values summed over children and heads in fp32."""
        q_BHTD, k_BKTD, v_BKTD, out_BHTD, *normalisers = ctx.saved_tensors
        q_by, grad_by, out_by = _ByType(q_BHTD), _ByType(grad_outputs[0]), _ByType(out_BHTD)
        k_by, v_by = _ByType(k_BKTD, ctx.groups), _ByType(v_BKTD, ctx.groups)
        dq_BHTD = torch.empty_like(q_BHTD)
        dk_BHTD, dv_BHTD = (torch.zeros(q_BHTD.shape, dtype=torch.float32) for _ in range(2))
        for piece, lse in zip(ctx.pieces, normalisers, strict=True):
            q, grad, out = (x.part(piece.dtype, (piece.queries,)) for x in (q_by, grad_by, out_by))
            k, v = k_by.part(piece.dtype, piece.context), v_by.part(piece.dtype, piece.context)
            causal = piece.mask_QC is None
            dq, dk, dv = _backward_op(grad, q, k, v, out, lse, 0.0, causal, attn_mask=piece.mask_QC, scale=ctx.scale)
            dq_BHTD[:, :, piece.queries] = dq
            lengths = [where.stop - where.start for where in piece.context]
            for total_BHTD, part in ((dk_BHTD, dk), (dv_BHTD, dv)):
                for where, chunk in zip(piece.context, part.split(lengths, dim=2), strict=True):
                    total_BHTD[:, :, where] += chunk
        dk_BKTD, dv_BKTD = (x.unflatten(1, (-1, ctx.groups)).sum(dim=2).to(k_BKTD.dtype) for x in (dk_BHTD, dv_BHTD))
        return dq_BHTD, dk_BKTD, dv_BKTD, None, None, None
