"""On which device and in which number format a run computes: the recipe's wish held against the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from luthier import compat
from luthier.errors import ResourceError

Compute = Literal["bf16", "fp16", "fp32"]
DTYPES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True, slots=True)
class Placement:
    """Device and compute type.

    Attributes:
        device: Where the model lives.
        compute: Format of frozen weights and of products.
        autocast: fp16 keeps trained weights in fp32 and casts per product; bf16 trains bf16 copies of fp32 masters.
    """

    device: torch.device
    compute: Compute

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of `compute`."""
        return DTYPES[self.compute]

    @property
    def trained_dtype(self) -> torch.dtype:
        """Format that trained weights have inside the model; their masters are fp32 in any case."""
        return torch.float32 if self.compute == "fp16" else self.dtype

    @property
    def autocast(self) -> bool:
        """Whether products are cast on the fly (fp16 only)."""
        return self.compute == "fp16"


def choose_device(wish: str, local_rank: int = 0) -> torch.device:
    """The device for `train.device`.

    Raises:
        ResourceError: The wished device is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        wish = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[wish]:
        have = ", ".join(name for name, there in available.items() if there)
        raise ResourceError(
            f"train.device is {wish}, but torch sees no such device here (it has: {have}). Use train.device=auto."
        )
    return torch.device("cuda", local_rank) if wish == "cuda" else torch.device(wish)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and compat.cpu_has_fast_bf16()


def place(device_wish: str, compute_wish: str, local_rank: int = 0) -> Placement:
    """Device and compute type for a run.

    Raises:
        ResourceError: bf16 was asked for on a device that does not compute it.
    """
    device = choose_device(device_wish, local_rank)
    if compute_wish == "auto":
        fallback: Compute = "fp16" if device.type == "cuda" else "fp32"
        return Placement(device, "bf16" if _has_bf16(device) else fallback)
    if compute_wish == "bf16" and device.type == "cuda" and not _has_bf16(device):
        name = torch.cuda.get_device_name(device)
        raise ResourceError(
            f"precision.compute is bf16, but {name} does not compute bf16. Use precision.compute=fp16 or auto."
        )
    return Placement(device, compute_wish)  # type: ignore[arg-type]  # the recipe's type allows no other value
