"""Two processes with DDP (gloo) make the same training as one: losses, gradient norms and weights, uneven rows, accumulation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from luthier.accel.reference import LiveReference
from luthier.accel.scorer import ScoringModel
from luthier.data.tokenize import TokenizedSet
from luthier.models.adapters import add_lora, train_all, trained_parameters
from luthier.models.placement import Placement
from luthier.objectives.base import Objective
from luthier.objectives.kto import Kto
from luthier.objectives.sft import Sft
from luthier.training.feed import Feed
from luthier.training.loss_scale import LossScale
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks
from luthier.training.step import train_step, validation_loss
from tests.parity.preference_rows import labelled_trees, random_pairs
from tests.tiny import random_rows, tiny_model

STEPS = 4
LENGTHS = [7, 19, 4, 12, 30, 5, 9, 22, 3, 16, 11]


def train_some(method: str, compute: str, ranks: Ranks, result: Path) -> None:
    """Train a few steps and write what happened; run in this process or under torchrun."""
    torch.set_num_threads(1)
    placement = Placement(torch.device("cpu"), compute)
    model: torch.nn.Module = tiny_model("llama-tied").to(placement.dtype).requires_grad_(False)
    if method in ("lora", "kto"):
        model = add_lora(
            model, rank=4, alpha=8, dropout=0.0, target_modules="all-linear", dtype=placement.dtype, seed=1
        )
    else:
        model = train_all(model, placement.dtype)
    scoring = ScoringModel(model, "sdpa").train()
    rows, held_out = random_rows(LENGTHS), random_rows([9], seed=3)
    objective: Objective = Sft()
    if method == "kto":  # its reference point is measured over both ranks
        rows = labelled_trees(random_pairs(), [True, False, True, True, False, False, True, False])
        held_out, objective = rows[:1], Kto(LiveReference(scoring))
    feed = Feed(
        train=TokenizedSet.from_examples(rows),
        validation=TokenizedSet.from_examples(held_out),  # one row for two ranks: one gets a filler
        batch_size=5,
        budget_tokens=40,
        seed=0,
        ranks=ranks,
    )
    optimizer = MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.01, max_grad_norm=0.5
    )
    wrapped = ranks.wrap(scoring, placement.device)
    steps = [
        train_step(
            wrapped,
            objective,
            feed.step_batches(step),
            optimizer,
            learning_rate=1e-2,
            loss_scale=LossScale.for_compute(compute),
            placement=placement,
            ranks=ranks,
        )
        for step in range(STEPS)
    ]
    loss = validation_loss(wrapped, objective, feed.validation_batches(), placement=placement, ranks=ranks)
    if ranks.is_main:
        torch.save({n: m.detach() for n, m in optimizer.masters.items()}, result.with_suffix(".pt"))
        result.write_text(
            json.dumps(
                {
                    "loss": [s.loss for s in steps],
                    "grad_norm": [s.grad_norm for s in steps],
                    "tokens": [s.num_tokens for s in steps],
                    "targets": [s.num_targets for s in steps],
                    "validation": loss,
                    "micro_batches": len(feed.step_batches(0)),
                }
            )
        )


@pytest.mark.parametrize(("method", "compute"), [("lora", "fp32"), ("full", "fp32"), ("lora", "bf16"), ("kto", "fp32")])
def test_two_ranks_equal_one(method: str, compute: str, tmp_path: Path) -> None:
    train_some(method, compute, Ranks(), tmp_path / "one.json")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*command, "tests.parity.test_two_ranks", method, compute, str(tmp_path / "two.json")],
        cwd=root,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one["micro_batches"] > 1
    assert one["tokens"] == two["tokens"]
    assert one["targets"] == two["targets"]
    tolerance = 1e-5 if compute == "fp32" else 2e-2
    for name in ("loss", "grad_norm", "validation"):
        assert two[name] == pytest.approx(one[name], rel=tolerance)
    weights = [torch.load(tmp_path / f"{name}.pt") for name in ("one", "two")]
    for name, tensor in weights[0].items():
        if compute == "fp32":
            torch.testing.assert_close(weights[1][name], tensor, rtol=1e-3, atol=2e-5, msg=name)


if __name__ == "__main__":
    train_some(sys.argv[1], sys.argv[2], Ranks.from_environment(cpu=True), Path(sys.argv[3]))
    torch.distributed.destroy_process_group()
