"""MasterAdamW against torch's AdamW with torch's clipping, in fp32; the guard; the state."""

import pytest
import torch
from torch import nn

from luthier.training.optim import MasterAdamW

SETTINGS = {"betas": (0.9, 0.95), "epsilon": 1e-6, "weight_decay": 0.1, "max_grad_norm": 0.5}


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    return {"w": nn.Parameter(torch.randn(6, 4).to(dtype)), "b": nn.Parameter(torch.randn(6).to(dtype))}


def give_gradients(params: dict[str, nn.Parameter], seed: int) -> None:
    torch.manual_seed(seed)
    for p in params.values():
        p.grad = torch.randn(p.shape).to(p.dtype)


def test_equals_torch_with_clipping_and_decay_on_matrices_only() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = MasterAdamW(ours, **SETTINGS)
    groups = [{"params": [theirs["w"]], "weight_decay": 0.1}, {"params": [theirs["b"]], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-6, fused=False)
    for seed in range(5):
        give_gradients(ours, seed)
        give_gradients(theirs, seed)
        norm = float(torch.nn.utils.clip_grad_norm_(theirs.values(), 0.5))
        reference.step()
        update = optimizer.step(1e-2)
        assert update.applied
        assert update.grad_norm == pytest.approx(norm, rel=1e-6)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-6, atol=1e-7)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    params = parameters()
    optimizer = MasterAdamW(params, **SETTINGS)
    before = {n: t.clone() for n, t in optimizer.state_tensors().items()}
    for bad in (float("nan"), float("inf")):
        give_gradients(params, 1)
        params["w"].grad[0, 0] = bad
        assert not optimizer.step(1e-2).applied
    assert all(torch.equal(before[n], t) for n, t in optimizer.state_tensors().items())
    assert params["w"].grad is None


def test_gradients_of_copies_add_up_in_fp32() -> None:
    params = parameters(torch.bfloat16)
    optimizer = MasterAdamW(params, **{**SETTINGS, "max_grad_norm": 0.0})
    for value in (1.0, 2**-9, 2**-9):  # bf16 keeps 8 bits: 1 + 2^-9 would be 1
        params["w"].grad = torch.full_like(params["w"], value)
        optimizer.absorb_gradients()
    assert torch.equal(optimizer.gradients()["w"], torch.full((6, 4), 1 + 2**-8))
    assert "b" not in optimizer.gradients()


def test_loss_scale_is_taken_out_before_clipping() -> None:
    plain, scaled = parameters(), parameters()
    a, b = MasterAdamW(plain, **SETTINGS), MasterAdamW(scaled, **SETTINGS)
    give_gradients(plain, 0)
    give_gradients(scaled, 0)
    for p in scaled.values():
        p.grad *= 1024
    assert a.step(1e-2).grad_norm == pytest.approx(b.step(1e-2, inverse_scale=1 / 1024).grad_norm, rel=1e-6)
    torch.testing.assert_close(plain["w"], scaled["w"])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_continues_where_it_was(dtype: torch.dtype) -> None:
    first = parameters(dtype)
    optimizer = MasterAdamW(first, **SETTINGS)
    give_gradients(first, 0)
    optimizer.absorb_gradients()
    optimizer.step(1e-2)
    saved = {n: t.clone() for n, t in optimizer.state_tensors().items()}

    second = parameters(dtype)
    resumed = MasterAdamW(second, **SETTINGS)
    resumed.load_state_tensors(saved)
    for params, opt in ((first, optimizer), (second, resumed)):
        give_gradients(params, 1)
        opt.absorb_gradients()
        opt.step(1e-2)
    assert all(torch.equal(first[n], second[n]) for n in first)
    assert all(torch.equal(t, resumed.state_tensors()[n]) for n, t in optimizer.state_tensors().items())
