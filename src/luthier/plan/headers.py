"""Safetensors headers: names, shapes and number formats of all tensors in a model folder, without reading a weight.

A header is eight bytes of length and then JSON (https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from luthier.errors import ModelError
from luthier.plan.shapes import Shape

MOST_HEADER_BYTES = 100 * 1024**2
"""The format's own limit; a larger number means that the file is something else."""

_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}
_BITS |= {"F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "U32": 32, "U64": 64}


class Stored(NamedTuple):
    """A tensor as a file holds it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_elements(self) -> int:
        """Its elements."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Its size in the file."""
        return self.num_elements * _BITS.get(self.dtype, 16) // 8


def read_headers(folder: Path) -> tuple[Stored, ...]:
    """All tensors of the safetensors files in a folder, by name.

    Raises:
        ModelError: There are no such files, or one is damaged.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder} holds no .safetensors file.")
    tensors = [tensor for file in files for tensor in _read_file(file)]
    return tuple(sorted(tensors))


def _read_file(file: Path) -> list[Stored]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= MOST_HEADER_BYTES:
            raise ModelError(f"{file} is no safetensors file: its header would have {length} bytes.")
        text = stream.read(length)
    try:
        header: dict[str, Any] = json.loads(text)
        return [
            Stored(name, str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is damaged: its header cannot be read ({error}).") from error


def shape_from_headers(tensors: Sequence[Stored], where: str = "the safetensors files") -> Shape:
    """A shape from tensor names and sizes alone, for a folder without config.json (names as Llama, Qwen and Mistral have them).

    The width of a head cannot be seen where queries are not normed per head; it is taken as 128, or 64 where 128 does not
    divide, and a note says so (only the attention's bookkeeping depends on it).

    Raises:
        ModelError: A tensor that is needed has another name; says which.
    """
    by_name = {re.sub(r"^(model\.|language_model\.)+", "", t.name): t for t in tensors}
    layer = "layers.0."
    needed = {
        "embed_tokens.weight": "vocabulary and hidden width",
        f"{layer}self_attn.q_proj.weight": "query width",
        f"{layer}self_attn.k_proj.weight": "key width",
        f"{layer}mlp.down_proj.weight": "inner width of the MLP",
    }
    missing = [f"{name} ({what})" for name, what in needed.items() if name not in by_name]
    if missing:
        raise ModelError(f"{where} hold no tensor named {', '.join(missing)}, and there is no config.json.")
    vocab, hidden = by_name["embed_tokens.weight"].shape
    q_width = by_name[f"{layer}self_attn.q_proj.weight"].shape[0]
    kv_width = by_name[f"{layer}self_attn.k_proj.weight"].shape[0]
    head_dim, notes = _head_width(by_name, q_width, kv_width)
    return Shape(
        family="unknown",
        num_layers=1 + max(int(m[1]) for name in by_name if (m := re.match(r"layers\.(\d+)\.", name))),
        hidden=hidden,
        num_heads=q_width // head_dim,
        num_kv_heads=kv_width // head_dim,
        head_dim=head_dim,
        intermediate=by_name[f"{layer}mlp.down_proj.weight"].shape[1],
        vocab=vocab,
        tied="lm_head.weight" not in by_name,
        gated=f"{layer}mlp.gate_proj.weight" in by_name,
        qkv_bias=f"{layer}self_attn.q_proj.bias" in by_name,
        output_bias=f"{layer}self_attn.o_proj.bias" in by_name,
        mlp_bias=f"{layer}mlp.down_proj.bias" in by_name,
        norms_per_layer=sum(bool(re.match(r"layers\.0\.\w*layernorm\.weight", name)) for name in by_name),
        qk_norm=f"{layer}self_attn.q_norm.weight" in by_name,
        notes=notes,
    )


def _head_width(by_name: Mapping[str, Stored], q_width: int, kv_width: int) -> tuple[int, tuple[str, ...]]:
    norm = by_name.get("layers.0.self_attn.q_norm.weight")
    if norm is not None:
        return norm.shape[0], ()
    width = 128 if q_width % 128 == 0 and kv_width % 128 == 0 else 64
    return width, (f"There is no config.json; heads are taken to be {width} wide.",)
