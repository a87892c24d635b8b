"""Each kind of adapter: packed equals PEFT's own forward row by row, in loss and gradients; saved, it opens in plain PEFT on the
original base as the same model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from luthier.accel.lora_linear import FusedLoraLinear
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.errors import ModelError
from luthier.models.adapters import add_lora, add_peft, trained_parameters
from luthier.models.earlier_adapter import continue_adapter, merge_adapter
from luthier.models.fixed_update import attach
from luthier.models.result import differences, save_result
from luthier.objectives.base import Want
from tests.tiny import plain_sums, random_rows, tiny_model, tiny_tokenizer

LORA: dict[str, dict[str, Any]] = {
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "gaussian": {"init": "gaussian"},
    "orthogonal": {"init": "orthogonal"},
    "pissa": {"init": "pissa"},
    "pissa, other ranks": {"init": "pissa", "rank_pattern": {"down_proj": 2}, "alpha_pattern": {"attention": 3.0}},
    "pissa, rslora": {"init": "pissa", "rslora": True, "layers": "1"},
    "patterns": {"target_modules": ["*.self_attn.[qk]_proj", "mlp"], "layers": "0", "rank_pattern": {"mlp": 6}},
    "token rows": {"trainable_token_ids": [5, 9]},
}
PEFT: dict[str, dict[str, Any]] = {
    "ia3": {"target_modules": ["k_proj", "down_proj"], "fields": {"feedforward_modules": ["down_proj"]}},
    "loha": {"target_modules": "attention", "fields": {"r": 2}},
    "lokr": {"target_modules": "mlp", "fields": {"r": 2}},
    "vera": {"target_modules": ["q_proj"], "fields": {"r": 8}},
    "oft": {"target_modules": ["q_proj", "v_proj"], "fields": {"oft_block_size": 8}},
    "hra": {"target_modules": "attention", "fields": {"r": 4}},
    "ln_tuning": {"target_modules": ["input_layernorm"], "fields": {}},
}
FAMILY = "llama-tied"


def base() -> Any:
    return tiny_model(FAMILY).requires_grad_(False)


def lora(model: Any = None, seed: int = 0, **changes: Any) -> PeftModel:
    options = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "target_modules": "all-linear"}
    return add_lora(model or base(), **{**options, "dtype": torch.float32, "seed": seed, **changes})


def make(name: str) -> PeftModel:
    if name in LORA:
        return lora(**LORA[name])
    return add_peft(base(), method=name, **{"layers": None, **PEFT[name]}, dtype=torch.float32, seed=0)


def moved(model: PeftModel, size: float = 0.05) -> PeftModel:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trained_parameters(model).values():
            parameter.add_(torch.randn_like(parameter) * size)
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 9, 8, 20, 31]])).logits


@pytest.mark.parametrize("name", [*LORA, *PEFT])
def test_packed_equals_row_by_row_in_loss_and_gradients(name: str) -> None:
    model = moved(make(name))
    rows = random_rows([7, 12, 5])
    total, _ = plain_sums(model, rows)
    total.backward()
    expected = {n: p.grad.clone() for n, p in trained_parameters(model).items()}  # type: ignore[union-attr]
    assert all(g.abs().sum() > 0 for g in expected.values())
    model.zero_grad()
    if FusedLoraLinear().applies_to(model).yes:
        FusedLoraLinear().apply(model)
    batch = collate(rows)
    scores = ScoringModel(model, "sdpa")(batch, Want(logprob=True))
    loss = -(scores.logprob_S * batch.targets.weights_S).sum()
    loss.backward()
    torch.testing.assert_close(loss, total, rtol=1e-5, atol=1e-5)
    for n, parameter in trained_parameters(model).items():
        error = (parameter.grad - expected[n]).norm() / expected[n].norm()  # type: ignore[operator]
        assert error < 1e-5, (n, float(error))


@pytest.mark.parametrize("name", [*LORA, *PEFT])
def test_the_saved_adapter_is_the_same_model_on_the_original_base(name: str, tmp_path: Path) -> None:
    model = moved(make(name))
    expected = logits(model)
    save_result(model, tiny_tokenizer(), tmp_path / "adapter", base_name="base")
    assert differences(model, tmp_path / "adapter") == []
    opened = PeftModel.from_pretrained(tiny_model(FAMILY), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(opened), expected, rtol=1e-5, atol=3e-5)
    assert (logits(tiny_model(FAMILY)) - expected).abs().max() > 1e-3


def test_variants_begin_as_pefts_own() -> None:
    """Same seed, same layer order: PEFT's constructor draws the same numbers."""
    ours = lora(rslora=True, dora=True, rank_pattern={"down_proj": 2}, seed=7)
    model = base()
    torch.manual_seed(7)
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", use_rslora=True, use_dora=True,
        rank_pattern={"down_proj": 2},
    )  # fmt: skip
    theirs = get_peft_model(model, config)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


def test_pissa_begins_as_pefts_own_and_as_the_base() -> None:
    ours = lora(init="pissa").eval()
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights="pissa"
    )
    theirs = get_peft_model(base(), config).eval()
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(logits(ours), logits(base()), rtol=1e-5, atol=3e-5)
    for name, tensor in theirs.state_dict().items():  # singular vectors are unique up to a sign
        if "lora_A" in name:
            gram = tensor.t() @ tensor
            torch.testing.assert_close(
                ours.state_dict()[name].t() @ ours.state_dict()[name], gram, rtol=1e-3, atol=1e-4
            )
        if "base_layer" in name:
            torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_pissa_in_bf16_begins_within_one_rounding_of_the_base() -> None:
    model = tiny_model(FAMILY).to(torch.bfloat16).requires_grad_(False)
    weight = model.model.layers[0].self_attn.q_proj.weight.float().clone()
    layer = lora(model, init="pissa", dtype=torch.bfloat16).base_model.model.model.layers[0].self_attn.q_proj
    with torch.no_grad():
        update = (
            layer.scaling["default"] * layer.lora_B["default"].weight.float() @ layer.lora_A["default"].weight.float()
        )
        error = layer.base_layer.weight.float() + update - weight
    assert error.abs().max() <= layer.base_layer.weight.float().abs().max() * 2**-8


def test_an_adapter_is_trained_further_as_it_was(tmp_path: Path) -> None:
    first = moved(lora(rslora=True, layers="1"))
    save_result(first, tiny_tokenizer(), tmp_path / "adapter", base_name="base")
    again = continue_adapter(base(), tmp_path / "adapter", torch.float32)
    assert trained_parameters(again).keys() == trained_parameters(first).keys()
    torch.testing.assert_close(logits(again.eval()), logits(first))
    with pytest.raises(ModelError, match="does not fit the model"):
        continue_adapter(tiny_model("llama", hidden_size=64), tmp_path / "adapter", torch.float32)


@pytest.mark.parametrize("changes", [{}, {"init": "pissa"}, {"target_modules": ["q_proj"], "alpha": 3.0}])
def test_two_adapters_are_saved_as_one(changes: dict[str, Any], tmp_path: Path) -> None:
    first = moved(lora(target_modules=["q_proj", "down_proj"], rank=2, alpha=5.0))
    save_result(first, tiny_tokenizer(), tmp_path / "first", base_name="base")
    merged, parts = merge_adapter(base(), tmp_path / "first")
    torch.testing.assert_close(logits(merged), logits(first), rtol=1e-5, atol=3e-5)
    second = lora(merged, seed=1, **changes)
    for name, (A, B, scale) in parts.items():
        attach(second.get_submodule(f"base_model.model.{name}"), A, B, scale)
    expected = logits(moved(second))
    save_result(second, tiny_tokenizer(), tmp_path / "second", base_name="base")
    assert differences(second, tmp_path / "second") == []
    opened = PeftModel.from_pretrained(tiny_model(FAMILY), tmp_path / "second").eval()
    torch.testing.assert_close(logits(opened), expected, rtol=1e-5, atol=3e-5)


def test_what_cannot_be_stacked_says_why(tmp_path: Path) -> None:
    save_result(moved(lora(dora=True)), tiny_tokenizer(), tmp_path / "dora", base_name="base")
    with pytest.raises(ModelError, match="more than plain LoRA on linear layers \\(DoRA"):
        merge_adapter(base(), tmp_path / "dora")
