"""The fused CPU attention against SDPA segment by segment: outputs, all gradients; bf16 about as exact as torch's kernel."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AttentionInterface

from luthier.accel.attention import _per_segment, sdpa_segment
from luthier.accel.cpu_attention_plan import plan
from luthier.data.batch import SegmentTable

TABLES = {
    "documents": SegmentTable((0, 5, 23, 24), (5, 18, 1, 9), (-1, -1, -1, -1)),
    "shared prompt": SegmentTable((0, 7, 13, 20), (7, 6, 7, 4), (-1, 0, 0, 0)),
    "nested": SegmentTable((0, 7, 13, 20, 25), (7, 6, 7, 5, 3), (-1, 0, 1, 1, -1)),
    "filled up": SegmentTable((0, 9, 14, 23), (9, 5, 9, 7), (-1, 0, -1, -1)),
    "long": SegmentTable((0, 450, 480), (450, 30, 300), (-1, 0, -1)),
}


def run(
    table: SegmentTable, dtype: torch.dtype, fused: bool, window: int | None = None, heads: int = 6, spread: float = 1.0
) -> list[torch.Tensor]:
    torch.manual_seed(0)
    shapes = [(1, table.num_tokens, h, 8) for h in (heads, 2, 2)]
    inputs = [(spread * torch.randn(s)).to(dtype).requires_grad_() for s in shapes]
    q, k, v = (x.transpose(1, 2) for x in inputs)
    if fused:
        attention = AttentionInterface()["luthier_sdpa"]
        out, _ = attention(nn.Module(), q, k, v, None, scaling=0.3, sliding_window=window, segments=table)
        out = out.transpose(1, 2)
    else:
        out = _per_segment(table, q, k, v, sdpa_segment, scale=0.3, dropout=0.0, window=window)
    assert (type(out.grad_fn).__name__ == "TransposeBackward0") == fused
    if fused:  # the fused function ran unless the window cuts something off
        assert ("SegmentAttention" in str(out.grad_fn.next_functions[0][0].next_functions[0][0])) == (window is None)
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


@pytest.mark.parametrize("spread", [1.0, 6.0])  # the second gives scores up to a hundred, as attention sinks have
@pytest.mark.parametrize("name", TABLES)
def test_bf16_is_as_exact_as_torch(name: str, spread: float) -> None:
    exact = run(TABLES[name], torch.float32, False, spread=spread)
    ours = run(TABLES[name], torch.bfloat16, True, spread=spread)
    theirs = run(TABLES[name], torch.bfloat16, False, spread=spread)
    for reference, a, b in zip(exact, ours, theirs, strict=True):
        error, torch_error = (float((x.float() - reference).norm() / reference.norm()) for x in (a, b))
        assert error <= max(1.35 * torch_error, 4e-3)


def test_children_that_lie_together_see_their_parent_in_one_block() -> None:
    blocks = [(block.queries, block.keys) for block in plan(TABLES["nested"]).shared]
    assert blocks == [(slice(7, 25), slice(0, 7)), (slice(13, 25), slice(7, 13))]


def test_segments_of_about_one_length_are_one_group_and_every_token_has_one_place() -> None:
    work = plan(SegmentTable((0, 300, 310, 510), (300, 10, 200, 190), (-1,) * 4))
    assert [group.num_segments for group in work.groups] == [1, 2, 1]
    assert work.groups[1].ghosts.tolist() == list(range(390, 400))
    numbers = torch.arange(1, 701).view(700, 1)
    total = torch.zeros_like(numbers)
    for group in work.groups:
        group.place(total, group.rows(numbers))
    assert torch.equal(total, numbers)
