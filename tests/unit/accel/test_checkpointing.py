"""Whatever layers keep, loss and gradients are the same bits; less is kept; the policy can be changed and taken off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from luthier.accel.checkpointing import decoder_layers, keep
from luthier.accel.scorer import ScoringModel
from luthier.data.batch import Batch
from luthier.data.collate import collate
from luthier.errors import ModelError
from luthier.models.adapters import add_lora
from luthier.objectives.sft import Sft
from luthier.plan.policy import CheckpointPolicy, Keeps
from luthier.workflows.assemble import apply_speedups
from tests.tiny import random_rows, tiny_model

LAYERS = 4
BATCH = collate(random_rows([30, 25, 40]))


def scoring_model(family: str, dropout: float = 0.0) -> ScoringModel:
    model = add_lora(
        tiny_model(family, num_hidden_layers=LAYERS),
        rank=4,
        alpha=8,
        dropout=dropout,
        target_modules="all-linear",
        dtype=torch.float32,
        seed=0,
    )
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    apply_speedups(model, "auto")
    return ScoringModel(model, "eager" if family == "gemma2" else "sdpa").train()


def gradients(scoring: ScoringModel, batch: Batch = BATCH) -> dict[str, Tensor]:
    scoring.zero_grad()
    torch.manual_seed(2)
    output = Sft().loss(scoring, batch)
    total = output.terms["nll"].total
    total.backward()
    found = {n: p.grad.clone() for n, p in scoring.named_parameters() if p.grad is not None}
    return {"loss": total.detach(), **found}


def kept_bytes(scoring: ScoringModel) -> int:
    sizes: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        Sft().loss(scoring, BATCH)
    return sum(sizes.values())


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma2", "phi3", "mistral-window"])
@pytest.mark.parametrize("kinds", [("attention",) * 4, ("input",) * 4, ("offload", "input", "attention", "all")])
def test_loss_and_gradients_are_those_of_keeping_everything(family: str, kinds: tuple[Keeps, ...]) -> None:
    scoring = scoring_model(family)
    expected = gradients(scoring)
    assert len(expected) > LAYERS
    keep(scoring.model, CheckpointPolicy(kinds))
    assert equal(gradients(scoring), expected)


def test_dropout_masks_are_drawn_once() -> None:
    scoring = scoring_model("llama", dropout=0.2)
    expected = gradients(scoring)
    keep(scoring.model, CheckpointPolicy(("attention", "attention", "input", "input")))
    assert equal(gradients(scoring), expected)


def test_each_kind_keeps_less() -> None:
    scoring = scoring_model("llama")
    kept = []
    kinds: tuple[Keeps, ...] = ("all", "attention", "input")
    for kind in kinds:
        keep(scoring.model, CheckpointPolicy((kind,) * LAYERS))
        kept.append(kept_bytes(scoring))
    assert kept[0] > 1.2 * kept[1] > 1.44 * kept[2], kept


def test_offload_moves_inputs_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = []
    real = torch.autograd.graph.save_on_cpu

    def spy(*args: Any, **kwargs: Any) -> Any:
        entered.append(kwargs)
        return real(*args, **kwargs)

    monkeypatch.setattr(torch.autograd.graph, "save_on_cpu", spy)
    scoring = scoring_model("llama")
    keep(scoring.model, CheckpointPolicy(("offload", "offload", "all", "all")))
    gradients(scoring)
    assert len(entered) == 2


def test_a_policy_replaces_the_one_before() -> None:
    scoring = scoring_model("llama")
    forwards = [vars(layer.mlp).get("forward") for layer in decoder_layers(scoring.model)]
    before = kept_bytes(scoring)
    for kind in ("attention", "attention", "input", "all"):
        keep(scoring.model, CheckpointPolicy((kind,) * LAYERS))
    assert [vars(layer.mlp).get("forward") for layer in decoder_layers(scoring.model)] == forwards
    assert kept_bytes(scoring) == before


def test_nothing_is_run_twice_without_gradients() -> None:
    scoring = scoring_model("llama")
    keep(scoring.model, CheckpointPolicy.recompute_all(LAYERS))
    calls = []
    for layer in decoder_layers(scoring.model):
        layer.mlp.register_forward_hook(lambda *_: calls.append(1))
    scoring.eval()
    with torch.no_grad():
        Sft().loss(scoring, BATCH)
    assert len(calls) == LAYERS


def test_another_number_of_layers_is_an_error() -> None:
    scoring = scoring_model("llama")
    with pytest.raises(ModelError, match="speaks of 3 layers, and the model has 4"):
        keep(scoring.model, CheckpointPolicy.keep_all(3))
