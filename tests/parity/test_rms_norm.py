"""The fused RMSNorm against transformers' own: outputs and gradients in fp32, and bf16 as exact as theirs."""

from __future__ import annotations

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from luthier.accel.registry import AppliedPatches
from luthier.accel.rms_norm import KNOWN, FusedRmsNorm
from tests.tiny import FAMILIES, tiny_model


def norm(dtype: torch.dtype) -> LlamaRMSNorm:
    torch.manual_seed(0)
    module = LlamaRMSNorm(24, eps=1e-5).requires_grad_(False)
    module.weight.data = torch.randn(24)
    return module.to(dtype)


def run(module: torch.nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    x = (3 * torch.randn(5, 7, 24) + 1).to(dtype).requires_grad_()
    y = module(x)
    y.backward(torch.randn(5, 7, 24).to(dtype))
    return y.detach(), x.grad


def fused(dtype: torch.dtype) -> torch.nn.Module:
    model = torch.nn.Sequential(norm(dtype))
    AppliedPatches(model).apply([FusedRmsNorm()])
    return model


def test_equals_transformers_in_fp32() -> None:
    for ours, theirs in zip(
        run(fused(torch.float32), torch.float32), run(norm(torch.float32), torch.float32), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_bf16_is_as_exact() -> None:
    exact = run(norm(torch.float32), torch.float32)
    ours, theirs = run(fused(torch.bfloat16), torch.bfloat16), run(norm(torch.bfloat16), torch.bfloat16)
    assert torch.equal(ours[0], theirs[0])
    errors = [float((gradient.float() - exact[1]).norm()) for gradient in (ours[1], theirs[1])]
    assert errors[0] <= 1.2 * errors[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_model_and_back(family: str) -> None:
    model = tiny_model(family).requires_grad_(False)
    ids = torch.arange(3, 15)[None]
    before = model(input_ids=ids).logits
    patch = FusedRmsNorm()
    knows = any(type(m).__name__ in KNOWN for m in model.modules())
    assert patch.applies_to(model).yes == knows
    if not knows:
        assert "known kind" in patch.applies_to(model).reason
        return
    undo = patch.apply(model)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)
    undo()
    assert torch.equal(model(input_ids=ids).logits, before)


def test_trained_norms_are_left_alone() -> None:
    verdict = FusedRmsNorm().applies_to(tiny_model("llama"))
    assert not verdict.yes
    assert "trained" in verdict.reason
