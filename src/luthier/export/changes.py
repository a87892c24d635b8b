"""How an adapter changes one tensor of its base. All arithmetic is in fp32; the caller rounds once, at the end.

Shape letters: O outputs, I inputs, R rank, V vocabulary, H hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from luthier.errors import ModelError


class Change(Protocol):
    """One change of one tensor."""

    def apply(self, weight: Tensor) -> Tensor:
        """The changed tensor (fp32) of an fp32 tensor, which stays as it is."""
        ...


def _require_shape(what: str, found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    if found != wanted:
        raise ModelError(
            f"The adapter does not fit this base: {what} makes a change of shape {found}, the weight has {wanted}. "
            "It was trained on another model."
        )


@dataclass(frozen=True, eq=False)
class LoraUpdate:
    """W + s B A (Hu et al. 2021)."""

    down_RI: Tensor
    up_OR: Tensor
    scale: float
    transposed: bool = False

    def delta(self) -> Tensor:
        """The product s B A, laid out as the weight is stored."""
        product = self.up_OR.float() @ self.down_RI.float() * self.scale
        return product.T if self.transposed else product

    def apply(self, weight: Tensor) -> Tensor:
        """W + s B A."""
        delta = self.delta()
        _require_shape("LoRA", tuple(delta.shape), tuple(weight.shape))
        return weight + delta


@dataclass(frozen=True, eq=False)
class DoraUpdate:
    """m (W + s B A) / ‖W + s B A‖, the norm over the inputs of each output (Liu et al. 2024)."""

    down_RI: Tensor
    up_OR: Tensor
    scale: float
    magnitude_O: Tensor
    transposed: bool = False

    def apply(self, weight: Tensor) -> Tensor:
        """The re-scaled directions."""
        product = self.up_OR.float() @ self.down_RI.float() * self.scale
        weight_OI = weight.T if self.transposed else weight
        _require_shape("DoRA", tuple(product.shape), tuple(weight_OI.shape))
        direction = weight_OI + product
        factor = self.magnitude_O.float() / torch.linalg.norm(direction, dim=1)
        changed = factor[:, None] * direction
        return changed.T.contiguous() if self.transposed else changed


@dataclass(frozen=True, eq=False)
class EmbeddingLora:
    """W + s (B A)ᵀ on an embedding [V, H]."""

    down_RV: Tensor
    up_HR: Tensor
    scale: float

    def apply(self, weight: Tensor) -> Tensor:
        """W + s (B A)ᵀ."""
        delta = (self.up_HR.float() @ self.down_RV.float()).T * self.scale
        _require_shape("LoRA on the embedding", tuple(delta.shape), tuple(weight.shape))
        return weight + delta


@dataclass(frozen=True, eq=False)
class Scaling:
    """IA³: the weight times a learnt factor per output or per input (Liu et al. 2022)."""

    factors: Tensor

    def apply(self, weight: Tensor) -> Tensor:
        """Element by element, with broadcasting."""
        fits = self.factors.ndim == weight.ndim and all(
            a in (1, b) for a, b in zip(self.factors.shape, weight.shape, strict=True)
        )
        if not fits:
            _require_shape("IA³", tuple(self.factors.shape), tuple(weight.shape))
        return weight * self.factors.float()


@dataclass(frozen=True, eq=False)
class AddedBias:
    """b + s times the bias of B, where LoRA was trained with one."""

    bias_O: Tensor
    scale: float

    def apply(self, weight: Tensor) -> Tensor:
        """The sum."""
        _require_shape("LoRA's bias", tuple(self.bias_O.shape), tuple(weight.shape))
        return weight + self.bias_O.float() * self.scale


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows of an embedding or head that were trained; rows behind the end of the base's are added."""

    rows_NH: Tensor
    token_ids: tuple[int, ...]

    def apply(self, weight: Tensor) -> Tensor:
        """The rows in their places."""
        if len(self.token_ids) != len(self.rows_NH) or max(self.token_ids) >= weight.shape[0]:
            raise ModelError(
                f"The adapter trains rows up to token {max(self.token_ids)}, the base has {weight.shape[0]}: it was trained on "
                "another model."
            )
        _require_shape("trained token rows", (weight.shape[0], self.rows_NH.shape[1]), tuple(weight.shape))
        changed = weight.clone()
        changed[list(self.token_ids)] = self.rows_NH.float()
        return changed


@dataclass(frozen=True, eq=False)
class StoredInNf4:
    """The weight as QLoRA's base holds it: in blocks of 64 with 4-bit numbers, and back (Dettmers et al. 2023).

    Attributes:
        compute: Format that the weight was read in before it was quantised.
        double: Whether the scales of the blocks are quantised too.
    """

    compute: torch.dtype
    double: bool

    def apply(self, weight: Tensor) -> Tensor:
        """What the 4-bit numbers stand for."""
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        packed, state = quantize_4bit(weight.to(self.compute), quant_type="nf4", compress_statistics=self.double)
        return dequantize_4bit(packed, state).reshape(weight.shape).float()


@dataclass(frozen=True, eq=False)
class NewModule:
    """A tensor that was trained whole (PEFT's modules_to_save)."""

    value: Tensor

    def apply(self, weight: Tensor) -> Tensor:
        """The trained tensor."""
        _require_shape("a module that was trained whole", tuple(self.value.shape), tuple(weight.shape))
        return self.value.float()
