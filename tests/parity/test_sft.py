"""SFT's loss and every gradient equal plain transformers and PEFT, fp32, to 1e-5 relative: packed, accumulated, uneven."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from luthier.accel.attention import choose_route, plain_attention
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.data.pack import pack
from luthier.data.prefix import plan_sharing
from luthier.models.adapters import add_lora, train_all, trained_parameters
from luthier.models.placement import Placement
from luthier.objectives.base import Want
from luthier.objectives.sft import Sft
from luthier.training.optim import MasterAdamW
from luthier.training.ranks import Ranks
from luthier.training.step import accumulate_gradients
from tests.tiny import FAMILIES, plain_sums, random_rows, tiny_model

CPU = torch.device("cpu")
FP32 = Placement(CPU, "fp32")
LENGTHS = [7, 19, 3, 12, 30, 5, 11]


def make_scorer(model: torch.nn.Module) -> ScoringModel:
    config = (model.get_base_model() if hasattr(model, "get_base_model") else model).config
    return ScoringModel(model, choose_route("auto", config, CPU)[0])


def make_optimizer(model: torch.nn.Module) -> MasterAdamW:
    return MasterAdamW(
        trained_parameters(model), betas=(0.9, 0.999), epsilon=1e-8, weight_decay=0.01, max_grad_norm=0.0
    )


def assert_same_gradients(
    ours: dict[str, torch.Tensor], reference: dict[str, torch.Tensor], limit: float = 1e-5
) -> None:
    assert ours.keys() == reference.keys()
    scale = max(float(g.norm()) for g in reference.values())
    assert scale > 0
    for name, gradient in reference.items():
        difference = float((ours[name] - gradient).norm())
        # relative to the tensor, or for tensors whose true gradient is zero (e.g. key biases) to the whole gradient
        assert difference <= limit * max(float(gradient.norm()), 1e-2 * scale), (
            name,
            difference,
            float(gradient.norm()),
        )


def with_lora(family: str, seed: int = 0) -> torch.nn.Module:
    """PEFT LoRA whose B is not zero, else A's gradient would be zero and untested."""
    model = tiny_model(family).requires_grad_(False)
    peft_model = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear")
    )
    torch.manual_seed(seed + 1)
    for name, parameter in trained_parameters(peft_model).items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return peft_model.eval()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_loss_and_gradients_equal_plain_transformers(family: str, method: str) -> None:
    model = with_lora(family) if method == "lora" else train_all(tiny_model(family), torch.float32)
    rows = random_rows(LENGTHS)
    with plain_attention(model):
        total, weight = plain_sums(model, rows)
        (total / weight).backward()
    reference = {n: p.grad.clone() for n, p in trained_parameters(model).items()}
    model.zero_grad()

    optimizer = make_optimizer(model)
    batches = [collate([rows[i] for i in packed]) for packed in pack(LENGTHS, budget_tokens=40)]
    assert 1 < len(batches) < len(rows)
    logged = accumulate_gradients(make_scorer(model), Sft(), batches, optimizer, placement=FP32, ranks=Ranks())

    assert float(logged["loss"]) == pytest.approx(float(total / weight), rel=1e-5)
    assert_same_gradients(optimizer.gradients(), reference)


@pytest.mark.parametrize("budget_tokens", [1, 31, 1000])
def test_how_rows_are_cut_into_micro_batches_changes_nothing(budget_tokens: int) -> None:
    rows = random_rows(LENGTHS)
    results = []
    for budget in (budget_tokens, 64):
        model = with_lora("llama")
        optimizer = make_optimizer(model)
        batches = [collate([rows[i] for i in packed]) for packed in pack(LENGTHS, budget)]
        logged = accumulate_gradients(make_scorer(model), Sft(), batches, optimizer, placement=FP32, ranks=Ranks())
        results.append((float(logged["loss"]), optimizer.gradients()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    assert_same_gradients(results[0][1], results[1][1], limit=2e-6)


def test_gradient_checkpointing_changes_nothing() -> None:
    rows = random_rows(LENGTHS)
    gradients = []
    for checkpointing in (False, True):
        model = with_lora("gemma2").train()
        if checkpointing:
            model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        optimizer = make_optimizer(model)
        accumulate_gradients(make_scorer(model), Sft(), [collate(rows)], optimizer, placement=FP32, ranks=Ranks())
        gradients.append(optimizer.gradients())
    assert_same_gradients(gradients[0], gradients[1], limit=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_trainable_token_rows_reach_embedding_and_head(tied: bool) -> None:
    model = tiny_model("llama", tie_word_embeddings=tied).requires_grad_(False)
    model = add_lora(
        model,
        rank=4,
        alpha=8,
        dropout=0.0,
        target_modules="all-linear",
        trainable_token_ids=[5, 6],
        dtype=torch.float32,
        seed=0,
    ).eval()
    torch.manual_seed(3)
    for parameter in trained_parameters(model).values():
        torch.nn.init.normal_(parameter, std=0.1)
    rows = random_rows(LENGTHS)
    for row in rows:
        row.segments[0].ids[1:3] = (5, 6)
    with plain_attention(model):
        total, weight = plain_sums(model, rows)
        (total / weight).backward()
    reference = {n: p.grad.clone() for n, p in trained_parameters(model).items()}
    assert any("trainable_tokens" in name for name in reference)
    model.zero_grad()
    optimizer = make_optimizer(model)
    logged = accumulate_gradients(make_scorer(model), Sft(), [collate(rows)], optimizer, placement=FP32, ranks=Ranks())
    assert float(logged["loss"]) == pytest.approx(float(total / weight), rel=1e-5)
    assert_same_gradients(optimizer.gradients(), reference)


def test_packed_documents_do_not_see_each_other() -> None:
    model = with_lora("llama")
    scorer = make_scorer(model)
    rows = random_rows([9, 14])
    other = random_rows([9, 14], seed=5)
    with torch.no_grad():
        before = scorer(collate(rows), Want()).logprob_S
        after = scorer(collate([other[0], rows[1]]), Want()).logprob_S
    num_first = rows[0].num_targets
    assert not torch.equal(before[:num_first], after[: other[0].num_targets])
    assert torch.equal(before[num_first:], after[other[0].num_targets :])


def test_bf16_copies_follow_fp32_masters() -> None:
    """bf16 gradients stay close to fp32 ones, and the masters keep what bf16 alone would round away."""
    rows = random_rows(LENGTHS)
    reference_model = with_lora("llama")
    reference = make_optimizer(reference_model)
    accumulate_gradients(make_scorer(reference_model), Sft(), [collate(rows)], reference, placement=FP32, ranks=Ranks())

    model = copy.deepcopy(reference_model).to(torch.bfloat16)
    optimizer = make_optimizer(model)
    assert optimizer.has_copies
    batches = [collate([rows[i] for i in packed]) for packed in pack(LENGTHS, 40)]
    accumulate_gradients(make_scorer(model), Sft(), batches, optimizer, placement=Placement(CPU, "bf16"), ranks=Ranks())
    difference = sum(float((g - reference.gradients()[n]).norm() ** 2) for n, g in optimizer.gradients().items()) ** 0.5
    whole = sum(float(g.norm() ** 2) for g in reference.gradients().values()) ** 0.5
    assert difference <= 3e-2 * whole  # a random model this small and this large-weighted rounds more than a real one

    before = {n: m.detach().clone() for n, m in optimizer.masters.items()}
    for parameter in optimizer.masters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1e-7)
    moved = [not torch.equal(before[n], m) for n, m in optimizer.masters.items()]
    copies_equal_rounded = [
        torch.equal(p, optimizer.masters[n].to(torch.bfloat16)) for n, p in optimizer.parameters.items()
    ]
    assert all(moved)
    assert all(copies_equal_rounded)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_other_reductions_equal_closed_form(family: str) -> None:
    model = tiny_model(family)
    rows = random_rows([13])
    batch = collate(rows)
    with torch.no_grad(), plain_attention(model):
        logits = model(input_ids=batch.input_ids_T[None]).logits[0][batch.targets.positions_S]
    distribution = torch.distributions.Categorical(logits=logits)
    scores = make_scorer(model)(batch, Want(logprob=True, entropy=True, vocab_mean=True, hidden=True))
    torch.testing.assert_close(scores.logprob_S, distribution.log_prob(batch.targets.ids_S), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores.entropy_S, distribution.entropy(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores.vocab_mean_S, logits.log_softmax(-1).mean(-1), rtol=1e-5, atol=1e-5)
    assert scores.hidden_SH.shape == (batch.num_targets, 32)


@pytest.mark.parametrize("name", ["logprob", "entropy", "vocab_mean", "hidden"])
def test_only_what_is_wanted_is_computed(name: str) -> None:
    wanted = {"logprob": False, name: True}
    scores = make_scorer(tiny_model("llama"))(collate(random_rows([6])), Want(**wanted))
    present = {
        field for field in ("logprob_S", "entropy_S", "vocab_mean_S", "hidden_SH") if getattr(scores, field) is not None
    }
    assert {p.rsplit("_", 1)[0] for p in present} == {name}


@pytest.mark.parametrize("family", ["llama-tied", "qwen2", "mistral-window", "gemma2", "gemma3"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_shared_prefixes_change_neither_loss_nor_gradients(family: str, method: str) -> None:
    """Rows with a common beginning, run as a tree, against each row alone through plain transformers."""
    model = with_lora(family) if method == "lora" else train_all(tiny_model(family), torch.float32)
    rows = random_rows([25, 31, 28, 40, 9])
    for index, row in enumerate(rows[:4]):
        (segment,) = row.segments
        segment.ids[:20] = rows[0].segments[0].ids[:20]
        segment.weights[:20] = 0.0
        if index >= 2:  # a second level: two rows have more in common
            segment.ids[20:26] = rows[2].segments[0].ids[20:26]
    with plain_attention(model):
        total, weight = plain_sums(model, rows)
        (total / weight).backward()
    reference = {n: p.grad.clone() for n, p in trained_parameters(model).items()}
    model.zero_grad()
    optimizer = make_optimizer(model)
    batch = collate(plan_sharing(rows, 1000))
    assert batch.segments.has_parents
    assert batch.num_tokens < batch.num_row_tokens == sum(r.num_tokens for r in rows)
    logged = accumulate_gradients(make_scorer(model), Sft(), [batch], optimizer, placement=FP32, ranks=Ranks())
    assert float(logged["loss"]) == pytest.approx(float(total / weight), rel=1e-5)
    assert_same_gradients(optimizer.gradients(), reference)
