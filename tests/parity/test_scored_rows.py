"""The last layer at scored rows only, against the same model with all rows: loss and every gradient; less is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from luthier.accel.checkpointing import decoder_layers, keep
from luthier.accel.registry import AppliedPatches
from luthier.accel.scored_rows import KNOWN, ScoredRows
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.data.example import Example, Segment
from luthier.models.adapters import add_lora
from luthier.objectives.sft import Sft
from luthier.plan.policy import CheckpointPolicy
from tests.tiny import FAMILIES, random_rows, tiny_model


def shared_prompt() -> Example:
    """Two answers to one prompt: its last position is scored twice."""
    ids = np.arange(5, 11, dtype=np.int32)
    nothing, all_of_it = np.zeros(6, np.float32), np.ones(6, np.float32)
    return Example(
        9, (Segment(ids, nothing), Segment(ids + 7, all_of_it, parent=0), Segment(ids + 20, all_of_it, parent=0))
    )


BATCH = collate([*random_rows([12, 7, 20]), shared_prompt()])


def scoring_model(family: str) -> ScoringModel:
    model = add_lora(
        tiny_model(family), rank=4, alpha=8, dropout=0.0, target_modules="all-linear", dtype=torch.float32, seed=0
    )
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    return ScoringModel(model, "eager" if family == "gemma2" else "sdpa").train()


@contextmanager
def patched(scoring: ScoringModel) -> Iterator[None]:
    patches = AppliedPatches(scoring.model)
    patches.apply([ScoredRows()])
    yield
    patches.revert()


def gradients(scoring: ScoringModel) -> dict[str, Tensor]:
    scoring.zero_grad()
    loss = Sft().loss(scoring, BATCH).terms["nll"].total
    loss.backward()
    found = {n: p.grad.clone() for n, p in scoring.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **found}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("policy", [("all", "all"), ("attention", "input")])
def test_loss_and_gradients_are_those_of_all_rows(family: str, policy: tuple[str, str]) -> None:
    scoring = scoring_model(family)
    expected = gradients(scoring)
    knows = type(decoder_layers(scoring.model)[-1]).__name__ in KNOWN
    assert ScoredRows().applies_to(scoring.model).yes == knows
    if not knows:
        return
    keep(scoring.model, CheckpointPolicy(policy))  # type: ignore[arg-type]
    with patched(scoring):
        found = gradients(scoring)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6, msg=name)
    assert all(torch.equal(x, expected[n]) for n, x in gradients(scoring).items()), "the patch left something behind"


def test_only_scored_rows_run_through_the_last_mlp() -> None:
    scoring = scoring_model("llama")
    seen: list[int] = []
    for layer in decoder_layers(scoring.model):
        layer.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    with patched(scoring):
        Sft().loss(scoring, BATCH)
    assert seen == [BATCH.num_tokens, len(BATCH.targets.positions_S)]
    assert seen[1] < seen[0]


def test_others_get_all_rows() -> None:
    model = tiny_model("llama")
    ids = torch.arange(3, 15)[None]
    before = model(input_ids=ids).logits
    patches = AppliedPatches(model)
    patches.apply([ScoredRows()])
    assert torch.equal(model(input_ids=ids).logits, before)
