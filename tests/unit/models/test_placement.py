"""The recipe's wish held against machines that are not here."""

from __future__ import annotations

import pytest
import torch

from luthier import compat
from luthier.errors import ResourceError
from luthier.models.placement import Placement, place


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    def _machine(*, capability: tuple[int, int] | None = None, mps: bool = False, cpu_bf16: bool = True) -> None:
        monkeypatch.setattr(compat, "cpu_has_fast_bf16", lambda: cpu_bf16)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=None: "Tesla T4")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return _machine


@pytest.mark.parametrize(
    ("have", "device", "compute", "expected"),
    [
        ({}, "auto", "auto", ("cpu", "bf16")),
        ({}, "cpu", "fp32", ("cpu", "fp32")),
        ({"cpu_bf16": False}, "auto", "auto", ("cpu", "fp32")),
        ({"cpu_bf16": False}, "auto", "bf16", ("cpu", "bf16")),
        ({"mps": True}, "auto", "auto", ("mps", "fp32")),
        ({"mps": True}, "cpu", "auto", ("cpu", "bf16")),
        ({"capability": (8, 0)}, "auto", "auto", ("cuda:1", "bf16")),
        ({"capability": (9, 0)}, "cuda", "fp32", ("cuda:1", "fp32")),
        ({"capability": (7, 5)}, "auto", "auto", ("cuda:1", "fp16")),
        ({"capability": (7, 5)}, "cpu", "auto", ("cpu", "bf16")),
        ({"capability": (8, 9), "mps": True}, "auto", "fp16", ("cuda:1", "fp16")),
    ],
)
def test_wish_and_machine(machine, have, device, compute, expected) -> None:
    machine(**have)
    placement = place(device, compute, local_rank=1)
    assert (str(placement.device), placement.compute) == expected


def test_a_device_that_is_not_there(machine) -> None:
    machine()
    with pytest.raises(ResourceError, match=r"train.device is cuda.*it has: cpu"):
        place("cuda", "auto")


def test_bf16_on_a_card_without_it_names_the_card(machine) -> None:
    machine(capability=(7, 5))
    with pytest.raises(ResourceError, match=r"Tesla T4 does not compute bf16. Use precision.compute=fp16"):
        place("auto", "bf16")


def test_what_is_trained_is_never_fp16() -> None:
    cpu = torch.device("cpu")
    stored = {c: (p.dtype, p.trained_dtype, p.autocast) for c in ("fp32", "bf16", "fp16") if (p := Placement(cpu, c))}
    assert stored == {
        "fp32": (torch.float32, torch.float32, False),
        "bf16": (torch.bfloat16, torch.bfloat16, False),
        "fp16": (torch.float16, torch.float32, True),
    }
