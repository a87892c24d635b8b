"""Writes a model as GGUF: all tensors are planned from shapes, then read, changed, quantised and written one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGUFWriter
from gguf import GGMLQuantizationType as Ggml
from gguf.quants import quant_shape_to_byte_shape, quantize
from numpy.typing import NDArray

from luthier.data.template import ChatTemplate
from luthier.errors import ModelError
from luthier.export.gguf.architecture import (
    Family,
    add_metadata,
    family_of,
    rope_factors,
    tensor_name,
    transform,
)
from luthier.export.gguf.kquants import quantise_q4_k, quantise_q5_k, quantise_q6_k
from luthier.export.gguf.tensor_types import TYPES, num_bytes, tensor_type
from luthier.export.gguf.vocabulary import Vocabulary, add_vocabulary, order_stops, read_vocabulary
from luthier.export.merge import MergePlan, compute
from luthier.export.weight_files import WeightFiles
from luthier.models.contract import InferenceContract

_K_QUANTS = {Ggml.Q4_K: quantise_q4_k, Ggml.Q5_K: quantise_q5_k, Ggml.Q6_K: quantise_q6_k}


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of the file.

    Attributes:
        name: llama.cpp's.
        source: Of the merge's operation that it is made from.
    """

    name: str
    source: str
    shape: tuple[int, ...]
    type: Ggml

    @property
    def num_bytes(self) -> int:
        """In the file."""
        return num_bytes(self.type, self.shape)


@dataclass(frozen=True, eq=False)
class GgufPlan:
    """A file.

    Attributes:
        kind: A key of `tensor_types.TYPES`.
        fallbacks: How many tensors got another type than the mixture wants, because of the width of their rows.
    """

    kind: str
    family: Family
    tensors: tuple[GgufTensor, ...]
    vocabulary: Vocabulary
    fallbacks: int

    @property
    def num_bytes(self) -> int:
        """Of tensors and vocabulary."""
        words = sum(len(t) + 20 for t in self.vocabulary.tokens) + sum(len(m) + 8 for m in self.vocabulary.merges)
        return sum(tensor.num_bytes for tensor in self.tensors) + 2 * words + 1_000_000


def plan_gguf(
    merge: MergePlan, config: Any, tokenizer: Any, stop_ids: Sequence[int], eos: int | None, kind: str
) -> GgufPlan:
    """Decide name, type and place of every tensor.

    Args:
        merge: What the weights are.
        config: Of the model.
        tokenizer: As trained.
        stop_ids: Where answers end.
        eos: The tokenizer's.
        kind: A key of `tensor_types.TYPES`.

    Raises:
        ModelError: llama.cpp has no place for the architecture, the tokenizer or a tensor.
    """
    family = family_of(config)
    vocabulary = read_vocabulary(tokenizer, merge.vocab_rows)
    order_stops(stop_ids, eos)
    tensors: list[GgufTensor] = []
    fallbacks = 0
    for name, operation in merge.operations.items():
        own = tensor_name(family, config, name)
        shape = operation.target.shape
        options = {"num_blocks": config.num_hidden_layers, "is_tied": merge.is_tied}
        chosen = tensor_type(own, shape, kind, **options)
        fallbacks += len(shape) > 1 and chosen is not tensor_type(own, (shape[0], 256), kind, **options)
        tensors.append(GgufTensor(own, name, shape, chosen))
    return GgufPlan(kind, family, tuple(tensors), vocabulary, fallbacks)


def write_gguf(
    plan: GgufPlan,
    path: Path,
    *,
    name: str,
    licence: str | None,
    merge: MergePlan,
    weights: WeightFiles,
    config: Any,
    template: ChatTemplate,
    contract: InferenceContract,
    chat_template: str,
    on_tensor: Callable[[int], None] | None = None,
) -> None:
    """Write the file.

    Raises:
        ModelError: A weight is too large for fp16.
    """
    writer = GGUFWriter(str(path), MODEL_ARCH_NAMES[plan.family.arch])
    writer.add_name(name)
    writer.add_type("model")
    if licence:
        writer.add_license(licence.lower())
    writer.add_file_type(int(TYPES[plan.kind][0]))
    writer.add_quantization_version(2)
    add_metadata(writer, plan.family, config, merge.vocab_rows)
    add_vocabulary(writer, plan.vocabulary, template, contract.stop_token_ids, chat_template)
    factors = rope_factors(config)
    if factors is not None:
        writer.add_tensor_info("rope_freqs.weight", factors.shape, factors.dtype, factors.nbytes)
    for tensor in plan.tensors:
        _add_info(writer, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for tensor in plan.tensors:
        # Unrounded: what is quantised should not have been rounded to the base's format before.
        values = compute(merge.operations[tensor.source], weights, merge.combination, torch.float32).numpy()
        values = transform(plan.family, config, tensor.source, values)
        writer.write_tensor_data(encode(values, tensor.type, tensor.name))
        if on_tensor is not None:
            on_tensor(tensor.num_bytes)
    writer.close()


def _add_info(writer: GGUFWriter, tensor: GgufTensor) -> None:
    if tensor.type is Ggml.F32:
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.num_bytes)
    elif tensor.type is Ggml.F16:
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float16), tensor.num_bytes)
    else:
        shape = quant_shape_to_byte_shape(tensor.shape, tensor.type)
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.uint8), tensor.num_bytes, raw_dtype=tensor.type)


def encode(values: NDArray[np.float32], kind: Ggml, name: str) -> NDArray[Any]:
    """Numbers as the file holds them.

    Raises:
        ModelError: A number is too large for fp16.
    """
    if kind in _K_QUANTS:
        return _K_QUANTS[kind](values)
    if kind is Ggml.F16 and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise ModelError(f"{name} holds numbers above 65504, which fp16 does not have. Use --type bf16 or f32.")
    return np.ascontiguousarray(quantize(np.ascontiguousarray(values), kind))
