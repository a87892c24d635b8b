"""Memory terms: kept bytes against what autograd really saves, storage against the optimiser's tensors, published figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from luthier.accel.checkpointing import decoder_layers
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.models.adapters import add_lora, train_all, trained_parameters
from luthier.objectives.base import Want
from luthier.plan.activations import layer_bytes, layer_kept, norm_bytes
from luthier.plan.catalogue import find_in_catalogue
from luthier.plan.engine import LITGPT, OURS, TORCHTUNE, ours_on
from luthier.plan.job import Job
from luthier.plan.memory import logits_and_head, plan_memory, quantisation_constants, weights
from luthier.plan.policy import CheckpointPolicy, Keeps
from luthier.plan.shapes import Shape, read_shape
from luthier.training.optim import MasterAdamW
from luthier.workflows.assemble import apply_speedups
from tests.tiny import random_rows, tiny_model
from tests.unit.plan.vram_rows import TABLE, compare, summary

RANK = 4
LLAMA_2_7B = Shape("llama", 32, 4096, 32, 32, 128, 11008, 32000, tied=False)


def saved_by_autograd(family: str, kind: str) -> tuple[float, Shape, int, int]:
    """Bytes per token that a forward pass through our scoring model saves; weights and buffers do not count."""
    window = (
        {"sliding_window": 128} if family in ("mistral", "gemma3") else {}
    )  # longer than every row: the usual route
    model: Any = tiny_model(family.replace("mistral", "mistral-window"), num_hidden_layers=3, **window).to(
        torch.bfloat16
    )
    shape = read_shape(model.config.to_dict())
    if kind == "lora":
        model = add_lora(
            model, rank=RANK, alpha=8, dropout=0.0, target_modules="all-linear", dtype=torch.bfloat16, seed=0
        )
    else:
        model = train_all(model, torch.bfloat16)
    patches, _ = apply_speedups(model, "auto")
    if "scored-rows" in patches:  # the plan counts the last layer like the others: at most one MLP too much
        del decoder_layers(model)[-1].forward
    scoring = ScoringModel(model, "sdpa").train()
    batch = collate(random_rows([47, 29]))
    per_token = {batch.num_tokens, batch.num_targets, *batch.segments.lengths}  # else a weight or made of weights
    known = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known and set(tensor.shape) & per_token:
            storages[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scoring(batch, Want(logprob=True))
    num_bytes = sum(storage.nbytes() for storage in storages.values())
    return num_bytes / batch.num_tokens, shape, batch.num_tokens, batch.num_targets


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("family", ["llama", "llama-tied", "qwen2", "mistral", "qwen3", "phi3", "gemma3"])
def test_layers_keep_what_autograd_saves(family: str, kind: Any) -> None:
    saved, shape, tokens, targets = saved_by_autograd(family, kind)
    job = Job(shape, kind, tokens, 48, rank=RANK)
    planned = shape.num_layers * sum(k.bytes_per_token for k in layer_kept(job, OURS))
    # Beside the layers: rotary tables, one hidden state per target, and the last norm's input (with an adapter it takes the place
    # of the first norm's, which comes from a frozen embedding and is constant).
    per_norm = norm_bytes(job, OURS) * shape.hidden + 4
    outside = 2 * 2 * shape.head_dim + (per_norm if kind == "full" else 0)
    head = targets / tokens * (2 * shape.hidden + 8)
    assert saved == pytest.approx(planned + outside + head, rel=0.01)


def test_kept_bytes_of_llama_2_by_hand() -> None:
    # H = 4096, I = 2.6875 H. LoRA on all layers, bf16, x kept once: norms 2 × 2H, normed 2 × 2H, q k v out 8H, MLP 6I = 16.125 H,
    # seven times rank 16 in bf16, one fp32 number per
    # head and per norm.
    job = Job(LLAMA_2_7B, "lora", 1024, 1024, rank=16)
    expected = (4 + 4 + 8 + 16.125) * 4096 + 7 * 16 * 2 + 32 * 4 + 2 * 4
    assert layer_bytes(job, OURS, "all") == expected
    assert layer_bytes(job, OURS, "input") == 2 * 4096
    assert layer_bytes(job, OURS, "offload") == 0
    inside = 6 * 11008 + 16 * 2  # gate, up, product, and down_proj's thin product
    assert layer_bytes(job, OURS, "attention") == expected - inside


def test_stored_bytes_are_those_of_the_optimiser() -> None:
    model = train_all(tiny_model("llama-tied"), torch.bfloat16)
    shape = read_shape(model.config.to_dict())
    optimizer = MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.0, max_grad_norm=1.0
    )
    held = sum(t.numel() * t.element_size() for n, t in optimizer.state_tensors().items() if not n.startswith("step"))
    held += sum(p.numel() * p.element_size() for p in model.parameters())
    plan = plan_memory(Job(shape, "full", 64, 64), OURS)
    planned = sum(t.num_bytes for t in plan.terms if t.name in ("weights", "fp32 masters", "optimiser"))
    assert planned == held == 14 * shape.parameters().total


def test_nf4_by_hand() -> None:
    job = Job(LLAMA_2_7B, "qlora", 512, 512)
    linear = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008)
    assert job.quantised_parameters == linear
    assert weights(job, LITGPT).num_bytes == linear / 2 + (LLAMA_2_7B.parameters().total - linear) * 2
    assert quantisation_constants(job, LITGPT).num_bytes == linear / 64 * 4
    # QLoRA, section 3: double quantisation takes the constants from 0.5 to 0.127 bits a parameter.
    assert 8 * quantisation_constants(job, TORCHTUNE).num_bytes / linear == pytest.approx(0.127, abs=0.001)


def test_terms_sum_to_the_peak_and_the_peak_is_the_largest_moment() -> None:
    for kind in ("lora", "qlora", "full"):
        plan = plan_memory(Job(LLAMA_2_7B, kind, 2048, 2048, generation_rows=4, generation_tokens=512), ours_on("cuda"))
        assert sum(t.num_bytes for t in plan.terms) == pytest.approx(plan.total_bytes)
        assert max(plan.moments.values()) == pytest.approx(plan.total_bytes)
        assert plan.low_bytes < plan.total_bytes < plan.high_bytes


def test_what_costs_memory_and_what_saves_it() -> None:
    def total(**changes: Any) -> float:
        job = replace(Job(LLAMA_2_7B, "full", 4096, 4096, objective="sft"), **changes)
        return plan_memory(job, ours_on("cuda")).total_bytes

    whole = total()
    frozen = 2 * LLAMA_2_7B.parameters().total
    assert total(objective="dpo") == pytest.approx(whole + 1.03 * frozen)  # a reference in bf16
    assert total(objective="ppo") > whole + 3 * frozen
    rewarded = Job(LLAMA_2_7B, "full", 4096, 4096, objective="reward")
    assert (
        logits_and_head(rewarded, OURS).num_bytes
        < 0.1 * logits_and_head(replace(rewarded, objective="sft"), OURS).num_bytes
    )
    assert total(parameters="lora") > total(parameters="qlora")
    assert whole - total(optimizer="adamw-8bit") == pytest.approx(1.03 * 6 * LLAMA_2_7B.parameters().total)
    whole = total(parameters="lora")
    order: tuple[Keeps, ...] = ("attention", "input", "offload")
    for other in order:
        smaller = total(parameters="lora", policy=CheckpointPolicy.mixed(32, {other: 32}))
        assert smaller < whole
        whole = smaller
    assert total(num_shards=8) < total() / 3
    assert total(num_micro_batches=4) > total()  # sums of gradients wait


def test_score_matrix_of_eager_attention_grows_with_the_square() -> None:
    row = find_in_catalogue("gemma-2-2b-it")
    assert row is not None
    short, long = (
        layer_bytes(Job(row.shape, "lora", 8192, context, attention="eager"), OURS, "all") for context in (512, 2048)
    )
    assert long - short == 1536 * 8 * (3 * 2 + 4)  # heads × (two bf16 tensors, one fp32, and the cap's)


@pytest.mark.skipif(not TABLE.is_file(), reason="shared/data/vram is not here")
def test_published_figures_are_met() -> None:
    done, left = compare()
    median, p90 = summary(done)
    assert len(done) >= 70
    assert median <= 0.10
    assert p90 <= 0.25
    assert all(row.why for row in left)
