"""Frozen weights in 4 or 8 bits, by bitsandbytes: what QLoRA trains on (Dettmers et al. 2023), on CUDA cards and on CPUs.

bitsandbytes is an extra; everything here names it before a model is read. Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Literal

from luthier.errors import MissingExtraError, ResourceError

if TYPE_CHECKING:
    import torch
    from torch import nn

Storage = Literal["compute", "nf4", "int8"]


def require_bitsandbytes(purpose: str) -> None:
    """Raise MissingExtraError where the package is absent.

    Args:
        purpose: What needs it, as the beginning of a sentence: ``precision.base=nf4``.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError("bitsandbytes", "qlora", purpose)


def quantization(base: Storage, compute: torch.dtype, *, double: bool, device: torch.device) -> Any:
    """The configuration that transformers loads a model with; None where weights stay in the compute type.

    Args:
        base: How frozen weights of linear layers are stored. Embeddings, norms and the head stay in the compute type.
        compute: What nf4 weights are unpacked to for each product.
        double: Quantise nf4's block scales, too.
        device: Where the model will live.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
        ResourceError: It does not run on this device.
    """
    if base == "compute":
        return None
    require_bitsandbytes(f"precision.base={base}")
    if device.type not in ("cuda", "cpu"):
        raise ResourceError(
            f"precision.base is {base}, but bitsandbytes does not run on {device.type}. Use train.device=cpu, or "
            "precision.base=compute."
        )
    from transformers import BitsAndBytesConfig

    if base == "int8":
        # Without outlier columns: which columns are outliers depends on all tokens that are computed together, so with them
        # documents that are packed together would change each other.
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=compute,
    )


def keep_gradients(model: nn.Module) -> None:
    """Keep bitsandbytes from re-packing 4-bit weights for CPU inference at the first evaluation.

    The packed product has no gradient for its input, and stays when training goes on (0.50): everything below the layer would
    silently learn nothing through it. To be called once, right after loading.
    """
    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            layer: Any = module
            layer.support_avx512bf16_for_cpu = False


def is_quantised(model: nn.Module) -> bool:
    """Whether any linear layer stores its weight in 4 or 8 bits."""
    return any(type(module).__name__ in ("Linear4bit", "Linear8bitLt") for module in model.modules())
