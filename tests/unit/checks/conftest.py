"""A tiny training, ready to be checked or broken."""

from __future__ import annotations

import pytest
import torch

from luthier.accel.scorer import ScoringModel
from luthier.data.tokenize import TokenizedSet
from luthier.models.adapters import add_lora, trained_parameters
from luthier.models.placement import Placement
from luthier.objectives.sft import Sft
from luthier.training.feed import Feed
from luthier.training.loop import Trainee
from luthier.training.loss_scale import LossScale
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks
from tests.tiny import random_rows, tiny_model

CPU = Placement(torch.device("cpu"), "fp32")


@pytest.fixture
def scoring() -> ScoringModel:
    model = add_lora(
        tiny_model("llama").requires_grad_(False),
        rank=4, alpha=8, dropout=0.1, target_modules="all-linear", dtype=torch.float32, seed=0,
    )  # fmt: skip
    return ScoringModel(model, "sdpa")


@pytest.fixture
def trainee(scoring: ScoringModel) -> Trainee:
    rows = TokenizedSet.from_examples(random_rows([7, 19, 3, 12]))
    return Trainee(
        model=scoring,
        objective=Sft(),
        optimizer=MasterAdamW(
            trained_parameters(scoring.model), betas=(0.9, 0.99), epsilon=1e-8, weight_decay=0.0, max_grad_norm=1.0
        ),
        feed=Feed(train=rows, validation=rows, batch_size=4, budget_tokens=64, seed=0, ranks=Ranks()),
        placement=CPU,
        ranks=Ranks(),
        loss_scale=LossScale.for_compute("fp32"),
        fingerprints={},
    )
