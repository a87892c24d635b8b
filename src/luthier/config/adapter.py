"""Which parameters are trained: all of them, or an adapter beside frozen weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from luthier.config.section import Section


class LoraSection(Section):
    """Low-rank adapters: W x + (alpha / rank) B A x with W frozen (Hu et al. 2021)."""

    kind: Literal["lora"] = "lora"
    """lora: an adapter beside frozen weights; none: every parameter is trained."""

    rank: int = Field(default=16, ge=1)
    """Rank of A and B."""

    alpha: float = Field(default=32.0, gt=0)
    """Scale: the update counts alpha / rank."""

    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on the adapter's input. Above 0 rules out fused kernels and exact prefix sharing, and makes steps random."""

    target_modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    """Which linear layers are adapted: all-linear (without the head) or a list of module names such as q_proj."""


class FullSection(Section):
    """Every parameter is trained."""

    kind: Literal["none"]
    """none: no adapter, every parameter is trained."""


AdapterSection = Annotated[LoraSection | FullSection, Field(discriminator="kind")]
