"""Tiny random models of each family and random rows, for parity tests. Built from configs: nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

from luthier.data.example import Example, Segment

VOCAB = 97
_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama-tied": ("Llama", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 8}),
    "mistral-window": ("Mistral", {"sliding_window": 4}),
    "gemma2": ("Gemma2", {"head_dim": 8, "sliding_window": 4}),
    "gemma3": ("Gemma3", {"head_dim": 8, "sliding_window": 4}),
    "phi3": ("Phi3", {}),
    "granite": ("Granite", {"logits_scaling": 3.0}),
    "cohere": ("Cohere", {"logit_scale": 0.25}),
}


def tiny_model(family: str, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """A causal language model of a few thousand weights, fp32, evaluation mode."""
    name, extra = FAMILIES[family]
    config_name = "Gemma3TextConfig" if name == "Gemma3" else f"{name}Config"
    config = getattr(transformers, config_name)(**{**_SHAPE, **extra, **overrides})
    torch.manual_seed(seed)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():  # larger than the default init, so that attention and soft caps matter
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    return model


def random_rows(lengths: Sequence[int], seed: int = 0) -> list[Example]:
    """Rows of random tokens, about half of them trained, some with a weight other than 1."""
    rng = np.random.default_rng(seed)
    rows = []
    for index, length in enumerate(lengths):
        weights = rng.choice([0.0, 1.0, 1.0, 0.5], size=length).astype(np.float32)
        weights[0], weights[-1] = 0.0, 1.0
        rows.append(Example(index, (Segment(rng.integers(3, VOCAB, length).astype(np.int32), weights),)))
    return rows


def plain_sums(model: torch.nn.Module, rows: Sequence[Example]) -> tuple[torch.Tensor, float]:
    """Reference: each row alone through plain transformers with full logits; (Σ −w·log p, Σ w)."""
    total = torch.zeros(())
    weight = 0.0
    for row in rows:
        (segment,) = row.segments
        ids = torch.from_numpy(segment.ids).long()[None]
        w = torch.from_numpy(segment.weights)[1:]
        logp = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
        total = total - (logp.gather(1, ids[0, 1:, None])[:, 0] * w).sum()
        weight += float(w.sum())
    return total, weight
