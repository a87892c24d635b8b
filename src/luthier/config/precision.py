"""In which number formats weights are stored and products computed."""

from __future__ import annotations

from typing import Literal

from luthier.config.section import Section


class PrecisionSection(Section):
    """Number formats."""

    compute: Literal["auto", "bf16", "fp32", "fp16"] = "auto"
    """auto: bf16 where the device computes it, fp16 with loss scaling on CUDA cards without bf16, else fp32."""

    base: Literal["compute", "nf4", "int8"] = "compute"
    """How frozen weights of linear layers are stored. compute: in the compute type; nf4: in 4 bits (QLoRA), int8: in 8 bits,
    both by bitsandbytes (extra qlora) on CUDA cards and CPUs. Embeddings, norms and the head stay in the compute type."""

    double_quantization: bool = True
    """nf4: store the scales of the blocks in 8 bits, too (about 0.4 bits a weight less)."""

    masters: Literal["fp32", "none"] = "fp32"
    """fp32: what is trained in bf16 has fp32 masters beside it. none: it has not, and updates are rounded to bf16 at random, so
    that small ones are not lost on average (stochastic rounding); 4 bytes a trained parameter less."""
