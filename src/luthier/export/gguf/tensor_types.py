"""Which quantisation each tensor of a file gets: llama.cpp's mixtures, and what it falls back to where rows do not fit.

Rows whose width is no multiple of 256 cannot be K-quants: Q4_K becomes Q5_0, Q5_K becomes Q5_1, Q6_K becomes Q8_0; where 32 does
not divide the width either, fp16. One-dimensional tensors stay fp32.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gguf import GGML_QUANT_SIZES, LlamaFileType
from gguf import GGMLQuantizationType as Ggml

TYPES: dict[str, tuple[LlamaFileType, Ggml]] = {
    "f32": (LlamaFileType.ALL_F32, Ggml.F32),
    "f16": (LlamaFileType.MOSTLY_F16, Ggml.F16),
    "bf16": (LlamaFileType.MOSTLY_BF16, Ggml.BF16),
    "q8_0": (LlamaFileType.MOSTLY_Q8_0, Ggml.Q8_0),
    "q6_k": (LlamaFileType.MOSTLY_Q6_K, Ggml.Q6_K),
    "q5_k_m": (LlamaFileType.MOSTLY_Q5_K_M, Ggml.Q5_K),
    "q4_k_m": (LlamaFileType.MOSTLY_Q4_K_M, Ggml.Q4_K),
}
"""Names of types: what the file says it is, and the type of most of its tensors."""

_FALLBACKS = {Ggml.Q4_K: Ggml.Q5_0, Ggml.Q5_K: Ggml.Q5_1, Ggml.Q6_K: Ggml.Q8_0}
_MIXED = ("q5_k_m", "q4_k_m")


def tensor_type(name: str, shape: Sequence[int], kind: str, *, num_blocks: int, is_tied: bool) -> Ggml:
    """The type of one tensor.

    Args:
        name: As in the file: blk.0.attn_v.weight.
        shape: Rows and width.
        kind: A key of `TYPES`.
        num_blocks: Layers of the model.
        is_tied: Whether the embedding is the output head too, and so needs its precision.
    """
    if len(shape) == 1:
        return Ggml.F32
    wanted = TYPES[kind][1]
    if kind in ("q6_k", *_MIXED) and (name == "output.weight" or (is_tied and name == "token_embd.weight")):
        wanted = Ggml.Q6_K
    elif kind in _MIXED:
        wanted = _in_mixture(name, kind, num_blocks)
    return fitting(wanted, shape[-1])


def _in_mixture(name: str, kind: str, num_blocks: int) -> Ggml:
    found = re.fullmatch(r"blk\.(\d+)\.(attn_v|attn_qkv|ffn_down)\.weight", name)
    usual = TYPES[kind][1]
    if found is None:
        return usual
    if found[2] == "attn_qkv":
        return Ggml.Q6_K if kind == "q5_k_m" else Ggml.Q5_K
    return Ggml.Q6_K if _is_sensitive(int(found[1]), num_blocks) else usual


def _is_sensitive(block: int, num_blocks: int) -> bool:
    """The first and last eighth of the layers, and every third between."""
    eighth = num_blocks // 8
    return block < eighth or block >= 7 * num_blocks // 8 or (block - eighth) % 3 == 2


def fitting(wanted: Ggml, width: int) -> Ggml:
    """`wanted`, or what takes its place for rows of this width."""
    if width % GGML_QUANT_SIZES[wanted][0] == 0:
        return wanted
    second = _FALLBACKS.get(wanted, Ggml.F16)
    return second if width % GGML_QUANT_SIZES[second][0] == 0 else Ggml.F16


def num_bytes(kind: Ggml, shape: Sequence[int]) -> int:
    """Of a tensor in a file."""
    block, size = GGML_QUANT_SIZES[kind]
    count = 1
    for length in shape:
        count *= length
    return count // block * size
