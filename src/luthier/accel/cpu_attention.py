"""Attention per segment on a CPU as one autograd function: no mask of [T, T], no copy of a prefix per child, few operations.

The keys that a segment sees lie in blocks: its own tokens, causally, and each ancestor, whole (`cpu_attention_plan`). Forward
runs torch's flash kernel on every block and joins the blocks of a query by their normalisers. Backward then knows each
query's output and total normaliser, so every block is a sum of its own:

    P = exp(scale · q kᵀ − lse)     δ = g · out     dS = P ∘ (g vᵀ − δ)     dv = Pᵀ g     dq = scale · dS k     dk = scale · dSᵀ q

In fp32 that is the flash kernel's backward pass. In bf16 it is five batched products, about twice as fast as the kernel; the
queries of all heads that look at one key/value head stand below each other in them, so that keys and values are never repeated
and their gradients are summed over heads inside the product. Results of products are rounded to bf16, so lse and δ must not be
subtracted afterwards: they stand as two more columns (a number as the sum of two bf16 ones) beside q and g, with ones beside k
and v, and are subtracted inside the product, in fp32. What is rounded is then log P, and rounding hurts the less the nearer it is
to 0. A query that looks at one of n keys has log P = 0 there, one that looks at all alike has −log n everywhere; so 2^m P with
m = log2(n) / 2 is computed, and g and δ are divided by 2^m, which is exact.

Reference: `attention._per_segment` with `attention.sdpa_segment`.

Shape letters: H query heads, K key/value heads, G = H / K, T tokens, D head width, E = D + 2; of one group or block N segments,
Q queries and C keys of each.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from luthier.accel.cpu_attention_plan import Group, Plan, plan
from luthier.data.batch import SegmentTable

CHUNK_QUERIES = 256
"""Queries per product. Of a causal block only the keys up to a chunk's last query are computed; smaller chunks waste less of the
triangle, larger ones keep the products efficient."""

_forward_op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward_op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class SegmentAttention(torch.autograd.Function):
    """softmax(scale · q kᵀ) v within each segment and its ancestors, causal."""

    @staticmethod
    def forward(ctx: Any, q_1HTD: Tensor, k_1KTD: Tensor, v_1KTD: Tensor, table: SegmentTable, scale: float) -> Tensor:
        """Output [1, H, T, D] in the inputs' type."""
        work = plan(table)
        q_THD, k_THD, v_THD = _by_token(q_1HTD, k_1KTD, v_1KTD)
        out_THD = q_THD.new_empty(q_THD.shape)
        lse_TH = torch.empty(q_THD.shape[:2], dtype=torch.float32)
        for group in work.groups:
            q, k, v = (group.rows(x).transpose(1, 2) for x in (q_THD, k_THD, v_THD))
            out_NHLD, lse_NHL = _forward_op(q, k, v, 0.0, True, scale=scale)
            group.place(out_THD, out_NHLD.transpose(1, 2))
            group.place(lse_TH, lse_NHL.transpose(1, 2))
        for block in work.shared:
            q, k, v = (x[None, where].transpose(1, 2) for x, where in zip((q_THD, k_THD, v_THD), block, strict=True))
            out, lse = _forward_op(q, k, v, 0.0, False, scale=scale)
            _join(out_THD[block.queries], lse_TH[block.queries], out[0].transpose(0, 1), lse[0].transpose(0, 1))
        out_1HTD = out_THD.transpose(0, 1)[None]
        ctx.save_for_backward(q_1HTD, k_1KTD, v_1KTD, out_1HTD, lse_TH)
        ctx.plan, ctx.scale = work, scale
        return out_1HTD

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of queries, keys and values; those of keys and values summed over children and heads in fp32."""
        q_1HTD, k_1KTD, v_1KTD, out_1HTD, lse_TH = ctx.saved_tensors
        work: Plan = ctx.plan
        q_THD, k_THD, v_THD = _by_token(q_1HTD, k_1KTD, v_1KTD)
        grad_THD, out_THD = (x[0].transpose(0, 1) for x in (grad_outputs[0], out_1HTD))
        of_block: Any = _Products if q_1HTD.dtype == torch.bfloat16 else _Kernel
        gradients = of_block(q_THD, k_THD, v_THD, grad_THD, out_THD, lse_TH, ctx.scale, work.half_log2_T)
        dq_THD = q_THD.new_empty(q_THD.shape)
        dk_TKD, dv_TKD = (torch.empty(k_THD.shape, dtype=torch.float32) for _ in range(2))
        for group in work.groups:
            for total, part in zip((dq_THD, dk_TKD, dv_TKD), gradients.causal(group), strict=True):
                group.place(total, part)
        for block in work.shared:
            dq, dk, dv = gradients.whole(block.queries, block.keys)
            dq_THD[block.queries] += dq
            dk_TKD[block.keys] += dk
            dv_TKD[block.keys] += dv
        dq_1HTD, dk_1KTD, dv_1KTD = (x.to(q_1HTD.dtype).transpose(0, 1)[None] for x in (dq_THD, dk_TKD, dv_TKD))
        return dq_1HTD, dk_1KTD, dv_1KTD, None, None


def _by_token(q_1HTD: Tensor, k_1KTD: Tensor, v_1KTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[T, H, D] or [T, K, D] each."""
    q_THD, k_TKD, v_TKD = (x[0].transpose(0, 1) for x in (q_1HTD, k_1KTD, v_1KTD))
    return q_THD, k_TKD, v_TKD


def _join(out_QHD: Tensor, lse_QH: Tensor, more_QHD: Tensor, more_lse_QH: Tensor) -> None:
    """Let outputs over some keys become, in place, outputs over those and more keys."""
    total_QH = torch.logaddexp(lse_QH, more_lse_QH)
    kept_QH1, added_QH1 = ((x - total_QH).exp_().unsqueeze(-1) for x in (lse_QH, more_lse_QH))
    out_QHD.copy_((out_QHD * kept_QH1).addcmul_(more_QHD, added_QH1))
    lse_QH.copy_(total_QH)


class _Kernel:
    """Gradients of queries, keys and values by the flash kernel."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, grad: Tensor, out: Tensor, lse_TH: Tensor, scale: float, _: Tensor
    ) -> None:
        self._queries, self._keys, self._lse_TH, self._scale = (grad, q, out), (k, v), lse_TH, scale

    def causal(self, group: Group) -> tuple[Tensor, ...]:
        """Segments with themselves, [N, L, H, D] each."""
        grad, q, out, k, v, lse = (group.rows(x).transpose(1, 2) for x in (*self._queries, *self._keys, self._lse_TH))
        if len(group.ghosts):
            grad.transpose(1, 2).flatten(0, 1).index_fill_(0, group.ghosts, 0.0)
        found = _backward_op(grad, q, k, v, out, lse, 0.0, True, scale=self._scale)
        return tuple(x.transpose(1, 2) for x in found)

    def whole(self, queries: slice, keys: slice) -> tuple[Tensor, ...]:
        """Queries that see all of the keys, [tokens, H, D] each."""
        grad, q, out = (x[None, queries].transpose(1, 2) for x in self._queries)
        k, v = (x[None, keys].transpose(1, 2) for x in self._keys)
        lse = self._lse_TH[None, queries].transpose(1, 2)
        found = _backward_op(grad, q, k, v, out, lse, 0.0, False, scale=self._scale)
        return tuple(x[0].transpose(0, 1) for x in found)


class _Wide(NamedTuple):
    """Operands of the products: [T, H, E] of queries and gradients, [T, K, E] of keys and values."""

    q: Tensor
    grad: Tensor
    k: Tensor
    v: Tensor


class _Products:
    """Gradients of queries, keys and values by batched products."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        grad: Tensor,
        out: Tensor,
        lse_TH: Tensor,
        scale: float,
        half_log2_T: Tensor,
    ) -> None:
        delta_TH = (grad.float() * out).sum(dim=-1)
        offset_TH = (half_log2_T[:, None] * math.log(2) - lse_TH) / scale
        shrink_T11 = torch.exp2(-half_log2_T).to(q.dtype)[:, None, None]
        ones_TK2 = q.new_ones(1).expand(*k.shape[:2], 2)
        self._wide = _Wide(
            torch.cat([q, _two_numbers(offset_TH, q.dtype)], dim=-1),
            torch.cat([grad, _two_numbers(-delta_TH, q.dtype)], dim=-1).mul_(shrink_T11),
            torch.cat([k, ones_TK2], dim=-1),
            torch.cat([v, ones_TK2], dim=-1),
        )
        self._scale, self._kv_heads, self._width = scale, k.shape[1], q.shape[2]

    def causal(self, group: Group) -> tuple[Tensor, ...]:
        """Segments with themselves, in chunks of queries that see the keys up to their end.

        Returns:
            [N, L, H, D] of queries, [N, L, K, D] of keys and values.
        """
        rows = _Wide(*(group.rows(x) for x in self._wide))
        if len(group.ghosts):
            rows.grad.flatten(0, 1).index_fill_(0, group.ghosts, 0.0)
        length = rows.q.shape[1]
        if length < 1.5 * CHUNK_QUERIES:
            return self._products(*rows, diagonal=0)
        dqs: list[Tensor] = []
        dk_NLKD, dv_NLKD = (torch.zeros(*rows.k.shape[:3], self._width) for _ in range(2))
        start = 0
        while start < length:
            end = start + CHUNK_QUERIES if length - start >= 1.5 * CHUNK_QUERIES else length
            chunk, seen = slice(start, end), slice(0, end)
            dq, dk, dv = self._products(
                rows.q[:, chunk], rows.grad[:, chunk], rows.k[:, seen], rows.v[:, seen], diagonal=start
            )
            dqs.append(dq)
            dk_NLKD[:, seen] += dk
            dv_NLKD[:, seen] += dv
            start = end
        return torch.cat(dqs, dim=1), dk_NLKD, dv_NLKD

    def whole(self, queries: slice, keys: slice) -> tuple[Tensor, ...]:
        """Queries that see all of the keys: [Q, H, D] of these, [C, K, D] of keys and values."""
        q, grad = (x[None, queries] for x in self._wide[:2])
        k, v = (x[None, keys] for x in self._wide[2:])
        return tuple(x[0] for x in self._products(q, grad, k, v, diagonal=None))

    def _products(
        self, q_NQHE: Tensor, grad_NQHE: Tensor, k_NCKE: Tensor, v_NCKE: Tensor, diagonal: int | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """dq, dk and dv; `diagonal` is the first query's own key.

        Products over X = N · K and Y = G · Q: the queries of a key/value head's heads, one head after the other.
        """
        # Operands are whole and keep their columns: slices would be copied once more in every product.
        q_XYE, grad_XYE = self._stacked(q_NQHE), self._stacked(grad_NQHE)
        k_XCE, v_XCE = (x.transpose(1, 2).flatten(0, 1) for x in (k_NCKE, v_NCKE))
        num_queries, empty = q_NQHE.shape[1], q_NQHE.new_empty(())
        p_XYC = torch.baddbmm(empty, q_XYE, k_XCE.mT, beta=0, alpha=self._scale).exp_()
        if diagonal is not None:
            p_XYC.unflatten(1, (-1, num_queries)).tril_(diagonal)
        dv_XCE = torch.bmm(p_XYC.mT, grad_XYE)
        ds_XYC = p_XYC.mul_(torch.bmm(grad_XYE, v_XCE.mT))
        dq_XYE = torch.baddbmm(empty, ds_XYC, k_XCE, beta=0, alpha=self._scale)
        dk_XCE = torch.baddbmm(empty, ds_XYC.mT, q_XYE, beta=0, alpha=self._scale)
        dq_NKGQE = dq_XYE.unflatten(0, (-1, self._kv_heads)).unflatten(2, (-1, num_queries))
        dq_NQHD = dq_NKGQE[..., : self._width].permute(0, 3, 1, 2, 4).flatten(2, 3)
        dk_NCKD, dv_NCKD = (
            x[..., : self._width].unflatten(0, (-1, self._kv_heads)).transpose(1, 2) for x in (dk_XCE, dv_XCE)
        )
        return dq_NQHD, dk_NCKD, dv_NCKD

    def _stacked(self, x_NQHE: Tensor) -> Tensor:
        """[N, Q, H, E] → [X, Y, E]."""
        return x_NQHE.unflatten(2, (self._kv_heads, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3).flatten(0, 1)


def _two_numbers(value_TH: Tensor, dtype: torch.dtype) -> Tensor:
    """[T, H, 2]: each value as a number of `dtype` and what that one lacks."""
    near_TH = value_TH.to(dtype)
    return torch.stack([near_TH, (value_TH - near_TH).to(dtype)], dim=-1)
