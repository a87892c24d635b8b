"""AdamW's two moments and the update that they make: kept in fp32, or in 8 bits with a scale per block (Dettmers et al. 2021).

A weight is handed in as fp32 and changed in place; whether it is a master or a passing copy of a bf16 weight is the optimiser's
business (`training.optim`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from luthier.errors import ResourceError

OptimizerName = Literal["adamw", "adamw-8bit", "paged-adamw-8bit"]
LEAST_8BIT_NUMBERS = 4096
"""Smaller tensors keep fp32 moments, as in bitsandbytes: there is nothing to gain, and norms are sensitive."""
_BLOCK = 256
_LEAST_PAGED_NUMBERS = 100_000


class Moments(Protocol):
    """The state of an AdamW, by parameter name."""

    def add(self, name: str, like: Tensor) -> None:
        """Make the state of a parameter; from the start, so that what the preflight measures is what training needs."""
        ...

    def update(
        self, names: Sequence[str], weights: Sequence[Tensor], gradients: Sequence[Tensor], *, rate: float, decay: float
    ) -> None:
        """One AdamW update of fp32 weights in place."""
        ...

    def tensors(self, name: str) -> dict[str, Tensor]:
        """What a resume needs, under short names."""
        ...


class FullMoments:
    """fp32 moments, updated by torch's fused kernel."""

    def __init__(self, betas: tuple[float, float], epsilon: float) -> None:
        self._betas, self._epsilon = betas, epsilon
        self._state: dict[str, dict[str, Tensor]] = {}

    def add(self, name: str, like: Tensor) -> None:
        """See `Moments`."""
        self._state[name] = {
            "step": torch.tensor(0.0, device=like.device if like.is_cuda else None),
            "exp_avg": torch.zeros_like(like, dtype=torch.float32),
            "exp_avg_sq": torch.zeros_like(like, dtype=torch.float32),
        }

    def update(
        self, names: Sequence[str], weights: Sequence[Tensor], gradients: Sequence[Tensor], *, rate: float, decay: float
    ) -> None:
        """See `Moments`."""
        states = [self._state[name] for name in names]
        adamw(
            list(weights),
            list(gradients),
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=self._betas[0],
            beta2=self._betas[1],
            lr=rate,
            weight_decay=decay,
            eps=self._epsilon,
            maximize=False,
        )

    def tensors(self, name: str) -> dict[str, Tensor]:
        """See `Moments`."""
        return dict(self._state[name])


class EightBitMoments:
    """Moments in 8 bits, by bitsandbytes: 2 bytes a parameter instead of 8; small tensors keep theirs in fp32.

    Args:
        betas: Decays of the moments.
        epsilon: Added to the denominator.
        paged: Keep them in memory that moves between the card and the host as either needs room (CUDA only).
    """

    def __init__(self, betas: tuple[float, float], epsilon: float, *, paged: bool) -> None:
        import bitsandbytes

        bnb: Any = bitsandbytes
        self._functions = bnb.functional
        self._betas, self._epsilon, self._paged = betas, epsilon, paged
        self._small = FullMoments(betas, epsilon)
        self._state: dict[str, dict[str, Tensor]] = {}
        self._maps: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def add(self, name: str, like: Tensor) -> None:
        """See `Moments`."""
        if like.numel() < LEAST_8BIT_NUMBERS:
            self._small.add(name, like)
            return
        blocks = -(-like.numel() // _BLOCK)
        scales = [torch.zeros(blocks, dtype=torch.float32, device=like.device) for _ in range(2)]
        self._state[name] = {
            "step": torch.tensor(0.0),
            "exp_avg": self._bytes(like),
            "exp_avg_sq": self._bytes(like),
            "exp_avg_scale": scales[0],
            "exp_avg_sq_scale": scales[1],
        }

    def _bytes(self, like: Tensor) -> Tensor:
        if not self._paged or like.numel() < _LEAST_PAGED_NUMBERS:
            return torch.zeros_like(like, dtype=torch.uint8)
        paged = self._functions.get_paged(*like.shape, dtype=torch.uint8, device=like.device)
        self._functions.fill(paged, 0)
        return paged

    def _levels(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """What the 256 codes stand for, of the signed and of the unsigned moment."""
        if device not in self._maps:
            make = self._functions.create_dynamic_map
            self._maps[device] = (make(signed=True).to(device), make(signed=False).to(device))
        return self._maps[device]

    def update(
        self, names: Sequence[str], weights: Sequence[Tensor], gradients: Sequence[Tensor], *, rate: float, decay: float
    ) -> None:
        """See `Moments`."""
        small = [i for i, name in enumerate(names) if name not in self._state]
        if small:
            chosen = [[items[i] for i in small] for items in (names, weights, gradients)]
            self._small.update(*chosen, rate=rate, decay=decay)  # type: ignore[arg-type]
        for name, weight, gradient in zip(names, weights, gradients, strict=True):
            if name in self._state:
                self._update_one(self._state[name], weight, gradient, rate, decay)

    def _update_one(
        self, state: dict[str, Tensor], weight: Tensor, gradient: Tensor, rate: float, decay: float
    ) -> None:
        state["step"] += 1
        if self._paged and weight.numel() >= _LEAST_PAGED_NUMBERS:
            for key in ("exp_avg", "exp_avg_sq"):
                self._functions.prefetch_tensor(state[key])
        signed, unsigned = self._levels(weight.device)
        self._functions.optimizer_update_8bit_blockwise(
            "adam",  # with a weight decay that is decoupled, as in AdamW
            gradient.contiguous(),
            weight,
            state["exp_avg"],
            state["exp_avg_sq"],
            *self._betas,
            0.0,
            0.0,
            self._epsilon,
            int(state["step"]),
            rate,
            signed,
            unsigned,
            state["exp_avg_scale"],
            state["exp_avg_sq_scale"],
            decay,
        )

    def tensors(self, name: str) -> dict[str, Tensor]:
        """See `Moments`."""
        if name not in self._state:
            return self._small.tensors(name)
        if self._paged:
            torch.cuda.synchronize()  # the host is about to read memory that a kernel may still write
        return dict(self._state[name])


def make_moments(name: OptimizerName, betas: tuple[float, float], epsilon: float) -> Moments:
    """The moments for a name of `train.optimizer`."""
    if name == "adamw":
        return FullMoments(betas, epsilon)
    return EightBitMoments(betas, epsilon, paged=name == "paged-adamw-8bit")


def refuse_device(name: OptimizerName, device: torch.device) -> None:
    """Raise ResourceError where an optimiser does not run on a device, before a model is read."""
    if name == "adamw":
        return
    if device.type not in ("cuda", "cpu"):
        raise ResourceError(
            f"train.optimizer is {name}, but bitsandbytes does not run on {device.type}. Use train.optimizer=adamw."
        )
    if name == "paged-adamw-8bit" and device.type == "cpu":
        raise ResourceError(
            "train.optimizer is paged-adamw-8bit, but pages move between a CUDA card and the host, and this run is on the CPU. "
            "Use train.optimizer=adamw-8bit."
        )
