"""Reads a GGUF file back with transformers, which does not share a line with our writer: what was written is what is tested."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, LlamaConfig, PreTrainedModel

from luthier.export.gguf.vocabulary import STOP_KEYS, as_llama_cpp_splits
from luthier.models.quiet import quiet_libraries


def read_model(path: Path, config: Any) -> PreTrainedModel:
    """The network in fp32, its weights de-quantised.

    Args:
        path: The file.
        config: The model's own. transformers rebuilds one from the file's metadata otherwise, in which some settings are
            missing for some families; `metadata_differences` looks at those that are there.
    """
    auto: Any = AutoModelForCausalLM
    if config.model_type == "mistral":  # llama.cpp runs it as a Llama, without its window, and so does the test
        config = LlamaConfig(**{k: v for k, v in config.to_dict().items() if k not in ("model_type", "sliding_window")})
    with quiet_libraries(), redirect_stderr(io.StringIO()):  # a bar of tqdm's own is drawn there
        model = auto.from_pretrained(
            path.parent,
            gguf_file=path.name,
            config=config,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
    return model.eval()


def read_tokenizer(path: Path) -> Any:
    """The tokenizer that the file describes, splitting text as its `tokenizer.ggml.pre` says."""
    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    reader = GGUFReader(path)
    if read_field(reader, "tokenizer.ggml.model") == "gpt2":
        tokenizer.backend_tokenizer.pre_tokenizer = as_llama_cpp_splits(read_field(reader, "tokenizer.ggml.pre"))
    return tokenizer


def read_field(reader: GGUFReader, key: str) -> Any:
    """A metadata value; None where there is none."""
    field = reader.fields.get(key)
    return None if field is None else field.contents()


def read_stops(path: Path) -> tuple[int, ...]:
    """Ids that end an answer, ascending."""
    reader = GGUFReader(path)
    found = [read_field(reader, key) for key in STOP_KEYS]
    return tuple(sorted(int(i) for i in found if i is not None))


def metadata_differences(path: Path, config: Any) -> list[str]:
    """Settings of the network that the file has otherwise than the config, in words."""
    reader = GGUFReader(path)
    arch = read_field(reader, "general.architecture")
    expected = {
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "context_length": config.max_position_embeddings,
    }
    found = {key: read_field(reader, f"{arch}.{key}") for key in expected}
    return [f"{key} is {found[key]}, should be {value}" for key, value in expected.items() if found[key] != value]
