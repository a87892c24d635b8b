"""Operations per step against torch's FlopCounterMode over plain transformers and PEFT."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from luthier.models.adapters import add_lora
from luthier.plan.catalogue import find_in_catalogue
from luthier.plan.engine import OURS
from luthier.plan.flops import Counting, forward_flops, step_flops
from luthier.plan.job import Job
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.shapes import Shape, read_shape
from tests.tiny import tiny_model

TOKENS = 40
AS_TORCH = Counting(causal=False, all_positions=True)
SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3}


def counted(family: str, kind: str, policy: str) -> tuple[int, int, Shape]:
    """Forward and whole step, as torch counts them."""
    window = {"sliding_window": 128} if family == "gemma3" else {}
    model: Any = tiny_model(family, attn_implementation="eager", **SIZES, **window)
    shape = read_shape(model.config.to_dict())
    if kind == "lora":
        model.requires_grad_(False)
        add_lora(model, rank=4, alpha=8, dropout=0.0, target_modules="all-linear", dtype=torch.float32, seed=0)
    model.train()
    if policy == "input":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if policy == "attention":
        for layer in model.model.layers:
            plain = layer.mlp.forward
            layer.mlp.forward = lambda x, plain=plain: checkpoint(plain, x, use_reentrant=False)
    ids = torch.randint(3, 90, (1, TOKENS))
    with FlopCounterMode(display=False) as meter:
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        forward = meter.get_total_flops()
        loss.backward()
    return forward, meter.get_total_flops(), shape


@pytest.mark.parametrize("policy", ["all", "attention", "input"])
@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("family", ["llama", "qwen3", "phi3", "gemma3"])
def test_counts_equal_torch(family: str, kind: Any, policy: Any) -> None:
    forward, step, shape = counted(family, kind, policy)
    layers = CheckpointPolicy((policy,) * shape.num_layers)
    job = Job(shape, kind, TOKENS, TOKENS, rank=4, attention="eager", policy=layers)
    assert forward_flops(job, AS_TORCH) == pytest.approx(forward, rel=0.005)
    assert step_flops(job, OURS, AS_TORCH).total == pytest.approx(step, rel=0.02)


def test_llama_8b_by_hand() -> None:
    row = find_in_catalogue("llama-3.1-8b-instruct")
    assert row is not None
    # 6.979 B multiplied weights in the layers, 0.525 B in the head; 4N for a frozen base; queries are 4096 wide in 32 layers.
    job = Job(row.shape, "lora", 1, 4096, targets=())
    linear, head, attention = 6.979e9, 0.525e9, 2 * 4096 * 4096 * 32
    lowest = 4096 * (4096 + 2 * 1024)
    assert forward_flops(job) == pytest.approx(2 * (linear + head) + attention, rel=1e-3)
    assert step_flops(job, OURS).total == pytest.approx(4 * (linear + head) - 2 * lowest + 3.5 * attention, rel=1e-3)
    full = step_flops(Job(row.shape, "full", 1, 4096, supervised_share=0.0), OURS)
    assert full.total == pytest.approx(6 * linear + 3.5 * attention, rel=1e-3)


def test_windows_save_work() -> None:
    row = find_in_catalogue("gemma-3-1b-it")
    assert row is not None

    def attention(length: int) -> float:
        job = Job(row.shape, "lora", 1, length, supervised_share=0.0)
        return forward_flops(job) - forward_flops(Job(row.shape, "lora", 1, 1, supervised_share=0.0))

    # 22 of 26 layers look back 512 tokens at most: mean keys of 8192 are 512 − 512 · 511 / 16384 there, 4096.5 elsewhere.
    expected = 4 * 1024 * (22 * (512 - 512 * 511 / 16384) + 4 * 4096.5 - 26)
    assert attention(8192) == pytest.approx(expected, rel=1e-6)
