"""In which number formats weights are stored and products computed."""

from __future__ import annotations

from typing import Literal

from luthier.config.section import Section


class PrecisionSection(Section):
    """Number formats. Masters and moments of what is trained are always fp32."""

    compute: Literal["auto", "bf16", "fp32", "fp16"] = "auto"
    """auto: bf16 where the device computes it, fp16 with loss scaling on CUDA cards without bf16, else fp32."""
