"""fp16 with dynamic loss scaling, run on CPU through autocast: close to fp32, overflow skipped, adapters in fp32.

No card without bf16 was at hand: on such a card this is untested.
"""

from __future__ import annotations

import pytest
import torch

from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.models.adapters import add_lora, trained_parameters
from luthier.models.placement import Compute, Placement
from luthier.objectives.sft import Sft
from luthier.training.loss_scale import LossScale
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks
from luthier.training.step import StepResult, train_step
from tests.tiny import random_rows, tiny_model


def run(compute: Compute, scale: LossScale, steps: int) -> tuple[list[StepResult], dict[str, torch.Tensor]]:
    placement = Placement(torch.device("cpu"), compute)
    model = tiny_model("llama-tied")
    for parameter in model.parameters():
        parameter.data.div_(3.0)
    model = add_lora(
        model.to(placement.dtype).requires_grad_(False),
        rank=4,
        alpha=8,
        dropout=0.0,
        target_modules="all-linear",
        dtype=placement.trained_dtype,
        seed=1,
    )
    assert {p.dtype for p in trained_parameters(model).values()} == {torch.float32}
    optimizer = MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0, max_grad_norm=1.0
    )
    batches = [collate(random_rows([12, 30])), collate(random_rows([7, 21], seed=2))]
    scoring = ScoringModel(model, "sdpa").train()
    results = [
        train_step(
            scoring,
            Sft(),
            batches,
            optimizer,
            learning_rate=1e-2,
            loss_scale=scale,
            placement=placement,
            ranks=Ranks(),
        )
        for _ in range(steps)
    ]
    return results, {n: m.detach().clone() for n, m in optimizer.masters.items()}


def test_follows_fp32() -> None:
    reference, _ = run("fp32", LossScale.for_compute("fp32"), 6)
    ours, _ = run("fp16", LossScale.for_compute("fp16"), 6)
    assert all(r.applied for r in ours)
    assert [r.loss for r in ours] == pytest.approx([r.loss for r in reference], rel=1e-2)
    assert [r.grad_norm for r in ours] == pytest.approx([r.grad_norm for r in reference], rel=5e-2)


def test_an_overflow_is_skipped_and_the_scale_comes_down() -> None:
    scale = LossScale(dynamic=True, scale=2.0**24)
    results, _ = run("fp16", scale, 12)
    assert not results[0].applied
    assert results[-1].applied
    assert scale.scale < 2.0**24
    assert results[-1].loss < results[0].loss
