"""Groups with their own rates against torch's parameter groups, 8-bit moments against bitsandbytes' own optimiser, rounding at
random against its definition; and all of them resumed.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from luthier.errors import ResourceError
from luthier.training.moments import LEAST_8BIT_NUMBERS, refuse_device
from luthier.training.optim import MasterAdamW, round_at_random

SETTINGS: dict[str, Any] = {"betas": (0.9, 0.99), "epsilon": 1e-8, "weight_decay": 0.1, "max_grad_norm": 0.0}


def parameters(dtype: torch.dtype = torch.float32) -> dict[str, torch.nn.Parameter]:
    torch.manual_seed(0)
    shapes = {"big": (80, 64), "lora_B": (64, 72), "bias": (7,)}
    return {name: torch.nn.Parameter(torch.randn(shape).to(dtype)) for name, shape in shapes.items()}


def gradients(step: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(100 + step)
    return {name: torch.randn(p.shape) for name, p in parameters().items()}


def train(optimizer: MasterAdamW, steps: range, rate: float = 1e-2) -> None:
    for step in steps:
        for name, gradient in gradients(step).items():
            parameter = optimizer.parameters[name]
            parameter.grad = gradient.to(parameter.dtype)
        optimizer.absorb_gradients()
        assert optimizer.step(rate).applied


def test_rate_factors_are_torchs_parameter_groups() -> None:
    mine, theirs = parameters(), parameters()
    optimizer = MasterAdamW(mine, **SETTINGS, rate_factors={"lora_B": 16.0})
    reference = torch.optim.AdamW(
        [
            {"params": [theirs["big"]], "lr": 1e-2, "weight_decay": 0.1},
            {"params": [theirs["lora_B"]], "lr": 16e-2, "weight_decay": 0.1},
            {"params": [theirs["bias"]], "lr": 1e-2, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.99),
        fused=True,
    )
    for step in range(4):
        train(optimizer, range(step, step + 1))
        for name, gradient in gradients(step).items():
            theirs[name].grad = gradient
        reference.step()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_eight_bits_are_bitsandbytes_own() -> None:
    bnb = pytest.importorskip("bitsandbytes")
    mine, theirs = parameters(), parameters()
    optimizer = MasterAdamW(mine, **{**SETTINGS, "weight_decay": 0.0}, optimizer="adamw-8bit")
    reference = bnb.optim.AdamW8bit(list(theirs.values()), lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0)
    for step in range(6):
        train(optimizer, range(step, step + 1))
        for name, gradient in gradients(step).items():
            theirs[name].grad = gradient
        reference.step()
    assert torch.equal(mine["big"], theirs["big"])
    torch.testing.assert_close(mine["bias"], theirs["bias"])  # few numbers: fp32 moments in both
    sizes = {name: t.element_size() for name, t in optimizer.state_tensors().items() if "exp_avg/" in name}
    assert sizes == {"exp_avg/big": 1, "exp_avg/lora_B": 1, "exp_avg/bias": 4}
    assert mine["big"].numel() >= LEAST_8BIT_NUMBERS > mine["bias"].numel()


def test_eight_bits_follow_the_full_optimiser() -> None:
    pytest.importorskip("bitsandbytes")
    eight, full = parameters(), parameters()
    train(MasterAdamW(eight, **SETTINGS, optimizer="adamw-8bit"), range(20))
    train(MasterAdamW(full, **SETTINGS), range(20))
    begin = parameters()["big"]
    assert (eight["big"] - full["big"]).norm() < 0.1 * (full["big"] - begin).norm()


@pytest.mark.parametrize("kind", [{"optimizer": "adamw-8bit"}, {"has_masters": False}, {"rate_factors": {"big": 0.1}}])
def test_a_resume_is_the_same_run_bit_for_bit(kind: dict[str, Any]) -> None:
    pytest.importorskip("bitsandbytes")
    peace = MasterAdamW(parameters(torch.bfloat16), **SETTINGS, **kind, seed=5)
    train(peace, range(6))
    first = MasterAdamW(parameters(torch.bfloat16), **SETTINGS, **kind, seed=5)
    train(first, range(3))
    saved = {name: tensor.clone() for name, tensor in first.state_tensors().items()}
    second = MasterAdamW(parameters(torch.bfloat16), **SETTINGS, **kind, seed=5)
    second.load_state_tensors(saved)
    train(second, range(3, 6))
    for name, tensor in peace.state_tensors().items():
        assert torch.equal(tensor, second.state_tensors()[name]), name


def test_rounding_at_random_keeps_the_mean() -> None:
    low, high = torch.tensor(1.0), torch.tensor(1.0078125)  # neighbours in bf16
    for sign in (1.0, -1.0):
        weight = sign * (low + 0.25 * (high - low)).expand(40_000).contiguous()
        rounded = round_at_random(weight, torch.Generator().manual_seed(0)).float()
        assert set(rounded.unique().tolist()) == {sign * float(low), sign * float(high)}
        share = float((rounded == sign * high).float().mean())
        assert share == pytest.approx(0.25, abs=0.01)  # 40,000 draws: standard deviation 0.002
    exact = torch.tensor([0.0, 1.5, -3.0, 2.0**-20])
    assert torch.equal(round_at_random(exact, torch.Generator()).float(), exact)


def test_without_masters_small_updates_are_not_lost() -> None:
    """Ten thousandths of a weight per step are a 25th of a bf16 step: rounded to nearest, nothing would ever move."""
    start = torch.nn.Parameter(torch.ones(5000, dtype=torch.bfloat16))
    optimizer = MasterAdamW({"w": start}, **SETTINGS, has_masters=False, seed=1)
    assert optimizer.masters["w"] is start
    for _ in range(50):
        start.grad = torch.ones_like(start)
        optimizer.absorb_gradients()
        optimizer.step(1e-4)
    # Constant gradient: Adam's step is the learning rate, so 50 steps are 0.005 in the mean.
    assert float(1 - start.detach().float().mean()) == pytest.approx(0.005, rel=0.1)
    nearest = torch.ones(1, dtype=torch.bfloat16)
    assert torch.equal((nearest.float() - 1e-4).to(torch.bfloat16), nearest)


def test_micro_batches_add_up_in_fp32_without_masters() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = MasterAdamW({"w": parameter}, **SETTINGS, has_masters=False)
    assert optimizer.has_copies
    for value in (256.0, 1.0, 1.0):  # bf16 cannot tell 256 from 257
        parameter.grad = torch.full_like(parameter, value)
        optimizer.absorb_gradients()
    assert optimizer.gradients()["w"].tolist() == [258.0] * 3
    optimizer.zero_gradients()
    assert optimizer.gradients() == {}


def test_optimisers_that_a_device_cannot_run() -> None:
    cpu, mps = torch.device("cpu"), torch.device("mps")
    refuse_device("adamw", mps)
    refuse_device("adamw-8bit", cpu)
    with pytest.raises(
        ResourceError, match=r"pages move between a CUDA card and the host.*Use train\.optimizer=adamw-8bit"
    ):
        refuse_device("paged-adamw-8bit", cpu)
    with pytest.raises(ResourceError, match="bitsandbytes does not run on mps"):
        refuse_device("adamw-8bit", mps)
