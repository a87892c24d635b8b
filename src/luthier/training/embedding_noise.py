"""NEFTune (Jain et al. 2023): while training, uniform noise is added to the embeddings of each row, of size α / √(L · H).

L is the length of the row, H the hidden width. Rows are packed here, so each token's noise is that of its own row.
Reference: `transformers.integrations.neftune.neftune_post_forward_hook`, which takes the padded batch's width for L.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from luthier.accel.scorer import ScoringModel
from luthier.data.batch import Batch


class EmbeddingNoise:
    """Adds noise inside `ScoringModel.forward` alone, and only in training mode: not in validation, not in generation.

    Args:
        alpha: Size of the noise; 5 is common.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self._batch: Batch | None = None

    def attach(self, scoring: ScoringModel) -> None:
        """From now on, in each training step."""
        embedding: Any = scoring.causal_lm.get_input_embeddings()
        scoring.register_forward_pre_hook(self._begin)
        scoring.register_forward_hook(self._end, always_call=True)
        embedding.register_forward_hook(self._add)

    def _begin(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self._batch = args[0] if module.training else None

    def _end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:  # noqa: ARG002 - torch's signature
        self._batch = None

    def _add(self, module: nn.Module, args: tuple[Any, ...], embedded_1TH: Tensor) -> Tensor:  # noqa: ARG002
        if self._batch is None:
            return embedded_1TH
        size_T = noise_sizes(self._batch, embedded_1TH.shape[-1], self.alpha).to(embedded_1TH.device)
        noise = torch.empty_like(embedded_1TH, dtype=torch.float32).uniform_(-1.0, 1.0)
        return embedded_1TH + (noise * size_T[None, :, None]).to(embedded_1TH.dtype)


def noise_sizes(batch: Batch, hidden: int, alpha: float) -> Tensor:
    """Largest noise for each token of a batch whose rows do not share beginnings, [T]."""
    assert not batch.segments.has_parents, "a token that several rows share would need noise of several sizes"
    lengths_N = torch.tensor(batch.segments.lengths)
    return (alpha / (lengths_N * hidden).sqrt()).repeat_interleave(lengths_N)
