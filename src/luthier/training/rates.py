"""How fast each parameter learns beside the others: a faster B (LoRA+), lower rates for lower layers. Pure functions of names."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LAYER = re.compile(r"\.(\d+)\.")
_LAST = re.compile(r"(^|\.)(norm|final_layernorm|ln_f|lm_head)\.")


def rate_factors(
    names: Iterable[str], *, loraplus_ratio: float = 1.0, layer_decay: float = 1.0, num_layers: int = 0
) -> dict[str, float]:
    """Factors on the learning rate by parameter name.

    Args:
        names: Of the trained parameters.
        loraplus_ratio: For LoRA's B (Hayou et al. 2024: η_B = λ η_A).
        layer_decay: Factor from each layer to the one below (discriminative fine-tuning, Howard & Ruder 2018): layer l of L
            learns at decay^(L − 1 − l), what lies before the layers at decay^L, last norm and head at 1.
        num_layers: L.
    """
    return {
        name: (loraplus_ratio if "lora_B" in name or "lora_embedding_B" in name else 1.0)
        * layer_decay ** _distance_from_top(name, num_layers)
        for name in names
    }


def _distance_from_top(name: str, num_layers: int) -> int:
    layer = _LAYER.search(name)
    if layer is not None:
        return num_layers - 1 - int(layer[1])
    return 0 if _LAST.search(name) else num_layers
