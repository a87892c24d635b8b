"""A tiny model that knows some rows by heart: trained on them until it does, by a plain loop of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from luthier.data.template import ChatTemplate
from luthier.types import Conversation
from tests.tiny import tiny_model, tiny_tokenizer


def template() -> ChatTemplate:
    return ChatTemplate.from_tokenizer(tiny_tokenizer())


def tiny(seed: int = 0) -> Any:
    """Untrained."""
    size = {"hidden_size": 64, "intermediate_size": 128, "max_position_embeddings": 256}
    model = tiny_model("llama-tied", seed, vocab_size=len(tiny_tokenizer()), **size)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.div_(4.0)
    return model


def learn_by_heart(model: Any, rows: Sequence[Conversation], made: ChatTemplate, steps: int = 150) -> Any:
    """Adam on all rows at once until they are known."""
    encoded = [made.encode(row) for row in rows]
    longest = max(len(each.ids) for each in encoded)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), -100)
    for number, each in enumerate(encoded):
        ids[number, : len(each.ids)] = torch.from_numpy(each.ids).long()
        learnt = torch.from_numpy(each.trained)
        labels[number, : len(each.ids)][learnt] = ids[number, : len(each.ids)][learnt]
    optimizer = torch.optim.Adam(model.parameters(), lr=6e-3)
    model.train()
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.03:
            break
    return model.eval()
