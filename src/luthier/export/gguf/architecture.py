"""How models of the known families are written for llama.cpp: names, metadata, and what it stores otherwise than transformers.

llama.cpp fixes some things in its code that a config may set (attention scale of Gemma, the pattern of its sliding windows):
a model that sets them otherwise is refused, because llama.cpp would compute something else and say nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, get_tensor_name_map
from numpy.typing import NDArray

from luthier.errors import ModelError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Family:
    """One family.

    Attributes:
        arch: llama.cpp's name for it.
        permutes_heads: Rows of q and k stand in another order, because llama.cpp rotates neighbours instead of halves.
        norm_offset: Added to the weights of norms, which transformers counts from 0.
        refuse: Says why a config cannot be written; None where it can.
    """

    arch: MODEL_ARCH
    permutes_heads: bool = False
    norm_offset: float = 0.0
    refuse: Callable[[Any], str | None] | None = None


def _gemma_scale(config: Any) -> str | None:
    if config.query_pre_attn_scalar not in (config.head_dim, config.hidden_size // config.num_attention_heads):
        return (
            f"its attention is scaled by {config.query_pre_attn_scalar}^-0.5, and llama.cpp has only "
            f"{config.head_dim}^-0.5 for this family"
        )
    return None


def _gemma3(config: Any) -> str | None:
    pattern = ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(config.num_hidden_layers)]
    if list(config.layer_types) != pattern:
        return "its layers with full attention are not every sixth, which llama.cpp takes for granted"
    if rope_parameters(config, "sliding_attention").get("rope_theta") != 10_000:
        return "its sliding layers rotate with another base than 10000, which llama.cpp takes for granted"
    return _gemma_scale(config)


def _phi3(config: Any) -> str | None:
    if rope_parameters(config).get("rope_type") not in (None, "default"):
        return f"its positions are scaled by {rope_parameters(config)['rope_type']}, which is not written here"
    return None


FAMILIES: dict[str, Family] = {
    "llama": Family(MODEL_ARCH.LLAMA, permutes_heads=True),
    "mistral": Family(MODEL_ARCH.LLAMA, permutes_heads=True),
    "qwen2": Family(MODEL_ARCH.QWEN2),
    "qwen3": Family(MODEL_ARCH.QWEN3),
    "gemma2": Family(MODEL_ARCH.GEMMA2, norm_offset=1.0, refuse=_gemma_scale),
    "gemma3_text": Family(MODEL_ARCH.GEMMA3, norm_offset=1.0, refuse=_gemma3),
    "phi3": Family(MODEL_ARCH.PHI3, refuse=_phi3),
}
"""By transformers' model_type."""

_ROPE_TYPES = {"linear": RopeScalingType.LINEAR, "yarn": RopeScalingType.YARN}


def family_of(config: Any) -> Family:
    """The family of a model.

    Raises:
        ModelError: llama.cpp has no mapping here for it, or would compute another model.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise ModelError(
            f"There is no GGUF mapping for models of type '{config.model_type}' here. There is one for: {', '.join(FAMILIES)}. "
            "Export with --to merged and convert that with llama.cpp's own convert_hf_to_gguf.py."
        )
    why = family.refuse(config) if family.refuse is not None else None
    kind = rope_parameters(config).get("rope_type", "default")
    if why is None and kind not in ("default", "llama3", *_ROPE_TYPES):
        why = f"its positions are scaled by {kind}, which is not written here"
    if why is None and getattr(config, "partial_rotary_factor", 1.0) != 1.0 and family.arch is MODEL_ARCH.LLAMA:
        why = "it rotates a part of each head only"
    if why is not None:
        raise ModelError(f"This {config.model_type} model cannot be written as GGUF: {why}. Export with --to merged.")
    return family


def rope_parameters(config: Any, layers: str = "full_attention") -> dict[str, Any]:
    """How positions are rotated, in the layers of one kind."""
    found = dict(getattr(config, "rope_parameters", None) or {})
    return dict(found.get(layers) or {}) if layers in found or "sliding_attention" in found else found


def head_dim(config: Any) -> int:
    """Width of an attention head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def add_metadata(writer: GGUFWriter, family: Family, config: Any, vocab_rows: int) -> None:
    """What llama.cpp needs to know of the network."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(vocab_rows)
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    rope = rope_parameters(config)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10_000.0)))
    if family.arch in (MODEL_ARCH.LLAMA, MODEL_ARCH.PHI3):
        writer.add_rope_dimension_count(int(head_dim(config) * getattr(config, "partial_rotary_factor", 1.0)))
    if (kind := rope.get("rope_type")) in _ROPE_TYPES:
        writer.add_rope_scaling_type(_ROPE_TYPES[kind])
        writer.add_rope_scaling_factor(float(rope["factor"]))
        if original := rope.get("original_max_position_embeddings"):
            writer.add_rope_scaling_orig_ctx_len(int(original))
    if family.arch in (MODEL_ARCH.GEMMA2, MODEL_ARCH.GEMMA3, MODEL_ARCH.PHI3) and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if family.arch is MODEL_ARCH.GEMMA2:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def notes(config: Any) -> list[str]:
    """What a user should know of a model of this kind in llama.cpp."""
    if config.model_type == "mistral" and config.sliding_window:
        return [
            f"llama.cpp attends to everything where this model attends to its last {config.sliding_window} tokens: the two agree "
            "up to that length."
        ]
    return []


def rope_factors(config: Any) -> Floats | None:
    """Llama 3.1's scaling of each frequency, which llama.cpp reads as a tensor; None for models without."""
    rope = rope_parameters(config)
    if rope.get("rope_type") != "llama3":
        return None
    width = head_dim(config)
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, width, 2, dtype=np.float64) / width)
    context = rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    wavelengths = 2 * math.pi / frequencies
    smooth = np.clip((context / wavelengths - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def tensor_name(family: Family, config: Any, name: str) -> str:
    """llama.cpp's name of a tensor.

    Raises:
        ModelError: It has none.
    """
    names = get_tensor_name_map(family.arch, config.num_hidden_layers)
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise ModelError(
            f"llama.cpp's {MODEL_ARCH_NAMES[family.arch]} has no place for {name}, so the model cannot be written as GGUF."
        )
    return found


def transform(family: Family, config: Any, name: str, tensor: Floats) -> Floats:
    """The values as llama.cpp wants them; `name` is transformers'."""
    if family.permutes_heads and (found := re.search(r"\.(q|k)_proj\.(weight|bias)$", name)):
        heads = config.num_attention_heads if found[1] == "q" else config.num_key_value_heads
        return permute_heads(tensor, heads)
    if family.norm_offset and name.endswith("norm.weight"):
        return tensor + np.float32(family.norm_offset)
    return tensor


def permute_heads(rows: Floats, num_heads: int) -> Floats:
    """From halves (transformers: i with i + d/2) to neighbours (llama.cpp: 2i with 2i + 1) within each head."""
    shape = rows.shape
    split = rows.reshape(num_heads, 2, shape[0] // num_heads // 2, *shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2)).reshape(shape)
