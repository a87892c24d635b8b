"""Several optimiser steps of SFT against TRL's SFTTrainer: the same losses, gradient norms and adapters, fp32."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from luthier.accel.attention import plain_attention
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.data.pack import pack
from luthier.models.adapters import add_lora, trained_parameters
from luthier.models.placement import Placement
from luthier.objectives.sft import Sft
from luthier.training.loss_scale import LossScale
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks
from luthier.training.step import train_step
from tests.tiny import random_rows, tiny_model, tiny_tokenizer

trl = pytest.importorskip("trl", reason="TRL is a development dependency")
datasets = pytest.importorskip("datasets")

STEPS, RATE, DECAY, CLIP = 4, 1e-2, 0.1, 0.5
LENGTHS = [7, 19, 4, 12, 30, 5]


def adapted_model() -> torch.nn.Module:
    return add_lora(
        tiny_model("llama"), rank=4, alpha=8, dropout=0.0, target_modules="all-linear", dtype=torch.float32, seed=1
    )


def trl_history(model: torch.nn.Module, rows: list, folder: Path) -> list[dict[str, float]]:
    """All rows in every step, in micro-batches of two, so that order does not matter and lengths are uneven."""
    table = {"input_ids": [], "labels": []}
    for row in rows:
        (segment,) = row.segments
        table["input_ids"].append(segment.ids.tolist())
        table["labels"].append([int(t) if w else -100 for t, w in zip(segment.ids, segment.weights, strict=True)])
    arguments = trl.SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=len(rows) // 2,
        max_steps=STEPS,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        optim="adamw_torch",
        logging_steps=1,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = trl.SFTTrainer(
        model, args=arguments, train_dataset=datasets.Dataset.from_dict(table), processing_class=tiny_tokenizer()
    )
    trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def test_losses_norms_and_adapters_equal_trl(tmp_path: Path) -> None:
    rows = random_rows(LENGTHS)
    for row in rows:
        row.segments[0].weights[:] = row.segments[0].weights > 0  # TRL has no weights between 0 and 1
    model = adapted_model()
    theirs = copy.deepcopy(model)
    scoring = ScoringModel(model, "sdpa")
    optimizer = MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=DECAY, max_grad_norm=CLIP
    )
    batches = [collate([rows[i] for i in packed]) for packed in pack(LENGTHS, 40)]
    results = [
        train_step(
            scoring.train(),
            Sft(),
            batches,
            optimizer,
            learning_rate=RATE,
            loss_scale=LossScale.for_compute("fp32"),
            placement=Placement(torch.device("cpu"), "fp32"),
            ranks=Ranks(),
        )
        for _ in range(STEPS)
    ]

    with plain_attention(theirs):
        history = trl_history(theirs, rows, tmp_path)
    assert [r.loss for r in results] == pytest.approx([h["loss"] for h in history], rel=1e-3)  # TRL logs rounded losses
    assert [r.grad_norm for r in results] == pytest.approx([h["grad_norm"] for h in history], rel=1e-3)
    assert max(r.grad_norm for r in results) > CLIP, "clipping must be part of the comparison"
    for name, parameter in trained_parameters(model).items():
        reference = dict(theirs.named_parameters())[name]
        torch.testing.assert_close(parameter, reference, rtol=1e-4, atol=1e-6, msg=name)
