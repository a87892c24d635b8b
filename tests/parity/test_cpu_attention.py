"""The fused CPU attention against SDPA segment by segment: outputs and all gradients, and bf16 no worse than torch's own."""

from __future__ import annotations

import pytest
import torch

from luthier.accel.attention import _per_segment, _sdpa_segment
from luthier.accel.cpu_attention import SegmentAttention
from luthier.data.batch import SegmentTable

TABLES = {
    "documents": SegmentTable((0, 5, 23, 24), (5, 18, 1, 9), (-1, -1, -1, -1)),
    "shared prompt": SegmentTable((0, 7, 13, 20), (7, 6, 7, 4), (-1, 0, 0, 0)),
    "nested": SegmentTable((0, 7, 13, 20, 25), (7, 6, 7, 5, 3), (-1, 0, 1, 1, -1)),
    "long": SegmentTable((0, 450), (450, 30), (-1, 0)),
}


def run(table: SegmentTable, dtype: torch.dtype, fused: bool, window: int | None, heads: int = 6) -> list[torch.Tensor]:
    torch.manual_seed(0)
    shapes = [(1, table.num_tokens, h, 8) for h in (heads, 2, 2)]
    inputs = [torch.randn(s).to(dtype).requires_grad_() for s in shapes]
    q, k, v = (x.transpose(1, 2) for x in inputs)
    if fused:
        out = SegmentAttention.apply(q, k, v, table, 0.3, window)
    else:
        out = _per_segment(table, q, k, v, _sdpa_segment, scale=0.3, dropout=0.0, window=window)
    out.backward(torch.randn(out.shape).to(dtype))
    return [out.detach(), *(x.grad for x in inputs)]


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("heads", [6, 2])
@pytest.mark.parametrize("name", TABLES)
def test_equals_sdpa_in_fp32(name: str, heads: int, window: int | None) -> None:
    for ours, theirs in zip(
        run(TABLES[name], torch.float32, True, window, heads),
        run(TABLES[name], torch.float32, False, window, heads),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", TABLES)
def test_bf16_is_as_exact_as_torch(name: str) -> None:
    exact = run(TABLES[name], torch.float32, False, None)
    ours = run(TABLES[name], torch.bfloat16, True, None)
    theirs = run(TABLES[name], torch.bfloat16, False, None)
    for reference, a, b in zip(exact, ours, theirs, strict=True):
        error, torch_error = (float((x.float() - reference).norm() / reference.norm()) for x in (a, b))
        assert error <= max(1.2 * torch_error, 4e-3)
