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


def tiny_tokenizer() -> Any:
    """Byte-level BPE with ChatML markers and a ChatML template, trained on a few sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(
        ["SELECT name FROM customers WHERE city = 'Oslo';", "user assistant system", "the colour of"], trainer
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="<|im_end|>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    return tokenizer


def save_tiny_model(folder: Any, family: str = "llama-tied", **overrides: Any) -> Any:
    """A model folder in Hugging Face layout with `tiny_tokenizer`; trains in milliseconds."""
    tokenizer = tiny_tokenizer()
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = tiny_model(family, vocab_size=len(tokenizer), max_position_embeddings=512, **ids, **overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.div_(4.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


COLOURS = ["red", "green", "blue", "grey", "pink", "gold", "teal", "plum"]


def write_chat_rows(path: Any, num_rows: int = 48) -> Any:
    """A jsonl file of short conversations of uneven length."""
    import json

    with open(path, "w", encoding="utf-8") as file:
        for i in range(num_rows):
            colour = COLOURS[i % len(COLOURS)]
            question = f"What is the colour of thing {i}?" + " Please answer." * (i % 4)
            answer = f"Thing {i} is {colour}." + " Yes." * (i % 3)
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path
