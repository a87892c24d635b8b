"""Label smoothing against torch's own cross-entropy, NEFTune against transformers' hook; loss and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.integrations.neftune import neftune_post_forward_hook

from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.data.pack import pack
from luthier.models.adapters import train_all, trained_parameters
from luthier.models.placement import Placement
from luthier.objectives.sft import Sft
from luthier.training.embedding_noise import EmbeddingNoise, noise_sizes
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks
from luthier.training.step import accumulate_gradients, validation_loss
from tests.tiny import plain_sums, random_rows, tiny_model

FP32 = Placement(torch.device("cpu"), "fp32")
LENGTHS = [7, 19, 3, 12]


def optimizer_of(model: torch.nn.Module) -> MasterAdamW:
    settings: dict[str, Any] = {"betas": (0.9, 0.999), "epsilon": 1e-8, "weight_decay": 0.0, "max_grad_norm": 0.0}
    return MasterAdamW(trained_parameters(model), **settings)


def smoothed_sums(model: torch.nn.Module, rows: Any, share: float) -> tuple[torch.Tensor, float]:
    """Each row alone through plain transformers and torch's cross-entropy."""
    total, weight = torch.zeros(()), 0.0
    for row in rows:
        (segment,) = row.segments
        ids = torch.from_numpy(segment.ids).long()
        w = torch.from_numpy(segment.weights)[1:]
        logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none", label_smoothing=share)
        total, weight = total + (losses * w).sum(), weight + float(w.sum())
    return total, weight


@pytest.mark.parametrize("family", ["llama", "granite"])
def test_label_smoothing_equals_torch(family: str) -> None:
    model = train_all(tiny_model(family), torch.float32)
    rows = random_rows(LENGTHS)
    total, weight = smoothed_sums(model, rows, 0.2)
    (total / weight).backward()
    reference = {n: p.grad.clone() for n, p in trained_parameters(model).items()}  # type: ignore[union-attr]
    with torch.no_grad():
        plain, _ = plain_sums(model, rows)
    model.zero_grad()
    optimizer = optimizer_of(model)
    batches = [collate([rows[i] for i in packed]) for packed in pack(LENGTHS, budget_tokens=30)]
    scorer = ScoringModel(model, "sdpa")
    logged = accumulate_gradients(scorer, Sft(0.2), batches, optimizer, placement=FP32, ranks=Ranks())
    assert float(logged["loss"]) == pytest.approx(float(total / weight), rel=1e-5)
    assert float(logged["nll"]) == pytest.approx(float(plain) / weight, rel=1e-5)
    for name, gradient in optimizer.gradients().items():
        assert (gradient - reference[name]).norm() <= 1e-5 * max(1e-3, float(reference[name].norm())), name
    held_out = validation_loss(scorer, Sft(0.2), batches, placement=FP32, ranks=Ranks())
    assert held_out == pytest.approx(float(plain) / weight, rel=1e-5), "validation measures the plain likelihood"


def test_noise_equals_transformers_for_a_row_alone() -> None:
    rows = random_rows([9])
    losses = []
    for theirs in (True, False):
        model = train_all(tiny_model("llama"), torch.float32).train()
        scorer = ScoringModel(model, "sdpa").train()
        if theirs:
            embedding: Any = model.get_input_embeddings()
            embedding.neftune_noise_alpha = 5.0
            embedding.register_forward_hook(neftune_post_forward_hook)
        else:
            EmbeddingNoise(5.0).attach(scorer)
        torch.manual_seed(11)
        losses.append(Sft().loss(scorer, collate(rows)).terms["nll"].total)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-5)


def test_each_packed_row_has_noise_of_its_own_size() -> None:
    batch = collate(random_rows([4, 16]))
    sizes = noise_sizes(batch, hidden=25, alpha=5.0)
    assert sizes.tolist() == pytest.approx([0.5] * 4 + [0.25] * 16)  # 5 / √(4·25), 5 / √(16·25)


def test_noise_is_for_training_steps_alone() -> None:
    model = tiny_model("llama")
    scorer = ScoringModel(model, "sdpa")
    batch = collate(random_rows([9, 5]))
    clean = Sft().loss(scorer.eval(), batch).terms["nll"].total
    EmbeddingNoise(5.0).attach(scorer)
    assert torch.equal(Sft().loss(scorer.eval(), batch).terms["nll"].total, clean)
    noisy = Sft().loss(scorer.train(), batch).terms["nll"].total
    assert abs(float(noisy - clean)) > 1e-3
    embedding: Any = model.get_input_embeddings()
    plain = embedding.weight[batch.input_ids_T[None]]
    assert torch.equal(embedding(batch.input_ids_T[None]), plain), "outside of a step, also in training mode"
