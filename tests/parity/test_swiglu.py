"""The fused SwiGLU against transformers' own MLP: outputs and gradients in fp32, and bf16 as exact as theirs."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from luthier.accel.registry import AppliedPatches
from luthier.accel.swiglu import KNOWN, FusedSwiglu
from tests.tiny import FAMILIES, tiny_model


def mlp(dtype: torch.dtype) -> LlamaMLP:
    torch.manual_seed(0)
    return LlamaMLP(LlamaConfig(hidden_size=24, intermediate_size=40, num_attention_heads=4)).to(dtype)


def run(module: torch.nn.Module, dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(1)
    x = (3 * torch.randn(5, 7, 24)).to(dtype).requires_grad_()
    y = module(x)
    y.backward(torch.randn(5, 7, 24).to(dtype))
    return [y.detach(), x.grad, *(p.grad for p in module.parameters())]


def fused(dtype: torch.dtype) -> torch.nn.Module:
    model = torch.nn.Sequential(mlp(dtype))
    AppliedPatches(model).apply([FusedSwiglu()])
    return model


def test_equals_transformers_in_fp32() -> None:
    for ours, theirs in zip(
        run(fused(torch.float32), torch.float32), run(mlp(torch.float32), torch.float32), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_bf16_is_as_exact() -> None:
    exact = run(mlp(torch.float32), torch.float32)
    ours, theirs = run(fused(torch.bfloat16), torch.bfloat16), run(mlp(torch.bfloat16), torch.bfloat16)
    for reference, a, b in zip(exact, ours, theirs, strict=True):
        assert float((a.float() - reference).norm()) <= 1.2 * float((b.float() - reference).norm())


def test_it_keeps_two_tensors_where_transformers_keeps_three() -> None:
    def kept_bytes(module: torch.nn.Module) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        x = torch.randn(64, 24, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            module(x)
        return sum(sizes.values())

    assert kept_bytes(mlp(torch.float32)) - kept_bytes(fused(torch.float32)) == 64 * 40 * 4


@pytest.mark.parametrize("family", FAMILIES)
def test_a_whole_model_and_back(family: str) -> None:
    model = tiny_model(family).requires_grad_(False)
    ids = torch.arange(3, 15)[None]
    before = model(input_ids=ids).logits
    patch = FusedSwiglu()
    knows = any(type(m).__name__ in KNOWN for m in model.modules())
    assert patch.applies_to(model).yes == knows
    if not knows:
        assert "known kind" in patch.applies_to(model).reason
        return
    undo = patch.apply(model)
    torch.testing.assert_close(model(input_ids=ids).logits, before, rtol=1e-5, atol=1e-5)
    undo()
    assert torch.equal(model(input_ids=ids).logits, before)
