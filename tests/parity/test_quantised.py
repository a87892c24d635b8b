"""nf4 and int8 bases against transformers + PEFT + bitsandbytes put together by hand: forward, and gradients of A and B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from luthier.accel.lora_linear import FusedLoraLinear
from luthier.accel.scorer import ScoringModel
from luthier.data.collate import collate
from luthier.models.adapters import add_lora, trained_parameters
from luthier.models.load import find_model, load_causal_lm
from luthier.models.quantize import quantization
from luthier.models.result import differences, save_result
from luthier.objectives.base import Want
from tests.tiny import plain_sums, random_rows, save_tiny_model, tiny_tokenizer

bnb = pytest.importorskip("bitsandbytes")
CPU = torch.device("cpu")
OPTIONS = {"rank": 4, "alpha": 8.0, "dropout": 0.0, "target_modules": "all-linear", "seed": 0}
THEIRS = {
    "nf4": BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    ),
    "int8": BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base"), "llama-tied", hidden_size=64, intermediate_size=128)


def ours(folder: Path, base: Any, dtype: torch.dtype = torch.float32, **changes: Any) -> PeftModel:
    stored = quantization(base, dtype, double=True, device=CPU)
    model = load_causal_lm(find_model(str(folder)), dtype, CPU, stored)
    return add_lora(model, **{**OPTIONS, "dtype": dtype, **changes})


def with_same_adapter(model: PeftModel, others: PeftModel | None = None) -> PeftModel:
    torch.manual_seed(3)
    source = trained_parameters(others) if others is not None else {}
    with torch.no_grad():
        for name, parameter in trained_parameters(model).items():
            parameter.copy_(source[name]) if source else parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


@pytest.mark.parametrize("base", ["nf4", "int8"])
def test_an_evaluation_in_between_changes_no_gradient(folder: Path, base: str) -> None:
    """bitsandbytes re-packs 4-bit weights for inference on CPUs with AVX-512 bf16; its packed product has no gradient."""
    gradients = []
    for evaluates in (False, True):
        model = with_same_adapter(ours(folder, base)).train()
        batch = collate(random_rows([7, 12]))
        scorer = ScoringModel(model, "sdpa")
        if evaluates:
            with torch.no_grad():
                scorer.eval()(batch, Want(logprob=True))
            scorer.train()
        scores = scorer(batch, Want(logprob=True))
        (-(scores.logprob_S * batch.targets.weights_S).sum()).backward()
        gradients.append({name: p.grad for name, p in trained_parameters(model).items()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name]), name  # type: ignore[arg-type]


@pytest.mark.parametrize("base", ["nf4", "int8"])
def test_packed_forward_and_gradients_equal_the_plain_stack(folder: Path, base: str) -> None:
    mine = with_same_adapter(ours(folder, base))
    plain = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=THEIRS[base], dtype=torch.float32, device_map={"": "cpu"}
    )
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear")
    theirs = with_same_adapter(get_peft_model(plain, config), mine)  # type: ignore[arg-type]
    theirs.train()  # not to let bitsandbytes re-pack the weights for inference; there is no dropout
    rows = random_rows([7, 12, 5])
    total, _ = plain_sums(theirs, rows)
    total.backward()
    batch = collate(rows)
    scores = ScoringModel(mine, "sdpa")(batch, Want(logprob=True))
    loss = -(scores.logprob_S * batch.targets.weights_S).sum()
    loss.backward()
    # int8 products round their inputs to 127 steps of each token's largest value: what differs in the last bit before may
    # fall to another step.
    limit = 1e-5 if base == "nf4" else 2e-2
    torch.testing.assert_close(loss, total, rtol=limit, atol=0)
    expected = trained_parameters(theirs)
    for name, parameter in trained_parameters(mine).items():
        error = (parameter.grad - expected[name].grad).norm() / expected[name].grad.norm()  # type: ignore[operator]
        assert error < limit, (name, float(error))


def test_nf4_is_bitsandbytes_quantisation_of_the_file(folder: Path) -> None:
    layer = ours(folder, "nf4").get_submodule("base_model.model.model.layers.0.mlp.up_proj").base_layer
    weight = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).model.layers[0].mlp.up_proj.weight
    packed, state = bnb.functional.quantize_4bit(weight.detach(), quant_type="nf4", compress_statistics=True)
    assert torch.equal(layer.weight.data.flatten(), packed.flatten())
    restored = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    torch.testing.assert_close(restored, bnb.functional.dequantize_4bit(packed, state))
    assert 0 < (restored - weight).abs().max() < weight.abs().max() / 4


def test_loftq_begins_nearer_to_the_unquantised_model(folder: Path) -> None:
    model = ours(folder, "nf4", init="loftq", weights_folder=folder, rank=8)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for name in ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj"):
        layer = model.get_submodule(f"base_model.model.model.{name}")
        weight = plain.get_submodule(f"model.{name}").weight.detach()
        kept = bnb.functional.dequantize_4bit(layer.base_layer.weight.data, layer.base_layer.weight.quant_state)
        with torch.no_grad():
            update = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        # Eckart-Young: no matrix of rank 8 comes nearer to the lost part; what is left is the size of its other singular values.
        rest = torch.linalg.svdvals(weight - kept)[8:].square().sum().sqrt()
        assert (weight - kept - update).norm() == pytest.approx(float(rest), rel=1e-3)
        assert rest < 0.95 * (weight - kept).norm()


def test_the_result_is_an_adapter_alone(folder: Path, tmp_path: Path) -> None:
    model = with_same_adapter(ours(folder, "nf4", torch.bfloat16))
    assert {p.dtype for p in trained_parameters(model).values()} == {torch.bfloat16}
    save_result(model, tiny_tokenizer(), tmp_path / "adapter", base_name="base")
    assert differences(model, tmp_path / "adapter") == []
    stored = sum(p.numel() * p.element_size() for p in trained_parameters(model).values())
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < stored + 20_000


def test_fused_layers_refuse_quantised_ones_with_the_reason(folder: Path) -> None:
    verdict = FusedLoraLinear().applies_to(ours(folder, "nf4"))
    assert not verdict.yes
    assert "quantised" in verdict.reason
