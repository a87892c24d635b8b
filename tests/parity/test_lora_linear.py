"""The fused LoRA linear against PEFT's own forward: output and every gradient, and PEFT's live state honoured."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from luthier.accel.lora_linear import FusedLoraLinear
from luthier.accel.registry import AppliedPatches
from luthier.errors import ModelError
from luthier.models.adapters import trained_parameters
from tests.tiny import tiny_model


def lora_model(family: str = "llama", **settings: object) -> torch.nn.Module:
    model = tiny_model(family).requires_grad_(False)
    config = LoraConfig(task_type="CAUSAL_LM", **{"r": 4, "lora_alpha": 12, "target_modules": "all-linear", **settings})
    peft_model = get_peft_model(model, config)
    torch.manual_seed(1)
    for name, parameter in trained_parameters(peft_model).items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return peft_model


IDS = torch.arange(3, 27).view(2, 12)


def run(model: torch.nn.Module) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    logits = model(input_ids=IDS).logits
    (logits.float().log_softmax(-1)[..., 5]).sum().backward()
    return logits.detach(), {n: p.grad.clone() for n, p in trained_parameters(model).items()}


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "phi3"])
def test_equals_peft(family: str) -> None:
    model = lora_model(family)
    logits, gradients = run(model)
    patches = AppliedPatches(model)
    patches.apply([FusedLoraLinear()])
    assert patches.names == ["fused LoRA linear"]
    fused_logits, fused = run(model)
    torch.testing.assert_close(fused_logits, logits, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients.items():
        assert float((fused[name] - gradient).norm()) <= 1e-5 * float(gradient.norm()), name
    assert not all(torch.equal(fused[n], g) for n, g in gradients.items()), "the fused path did not run"
    patches.revert()
    assert torch.equal(run(model)[0], logits)
    assert all("forward" not in vars(m) for m in model.modules())


def test_bf16_is_as_exact_as_peft() -> None:
    _, exact = run(lora_model())
    model = lora_model().to(torch.bfloat16)
    _, peft_gradients = run(model)
    AppliedPatches(model).apply([FusedLoraLinear()])
    _, ours = run(model)

    def error(gradients: dict[str, torch.Tensor]) -> float:
        return sum(float((g.float() - exact[n]).norm() ** 2) for n, g in gradients.items()) ** 0.5

    assert error(ours) <= 1.2 * error(peft_gradients)


def test_switched_off_merged_and_mixed_adapters_are_peft_s() -> None:
    model = lora_model()
    model.add_adapter("other", LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"]))
    model.eval()
    AppliedPatches(model).apply([FusedLoraLinear()])
    plain = tiny_model("llama")
    with torch.no_grad():
        base = plain(input_ids=IDS).logits
        with model.disable_adapter():
            assert torch.equal(model(input_ids=IDS).logits, base)
        tuned = model(input_ids=IDS).logits
        mixed = model(input_ids=IDS, adapter_names=["default", "__base__"]).logits
        torch.testing.assert_close(mixed[0], tuned[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(mixed[1], base[1], rtol=1e-5, atol=1e-5)
        model.merge_adapter(["default"])
        torch.testing.assert_close(model(input_ids=IDS).logits, tuned, rtol=1e-4, atol=1e-4)
        model.unmerge_adapter()


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"lora_dropout": 0.1}, "dropout"), ({"use_dora": True}, "DoRA"), ({"lora_bias": True}, "bias")],
)
def test_what_it_cannot_do_it_refuses(settings: dict, words: str) -> None:
    model = lora_model(**settings)
    assert not FusedLoraLinear().applies_to(model).yes
    with pytest.raises(ModelError, match=words):
        AppliedPatches(model).apply([FusedLoraLinear()])


def test_models_without_lora_are_left_alone() -> None:
    verdict = FusedLoraLinear().applies_to(tiny_model("llama"))
    assert not verdict.yes
    assert "no LoRA layers" in verdict.reason
