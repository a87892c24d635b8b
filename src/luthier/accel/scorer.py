"""The model as objectives see it: one `forward` from a batch to scores, and the only entry that wrappers (DDP) may take.

Around the transformers model and its adapters; hidden states run through the backbone for all T tokens, the language-model
head only for the S supervised positions. Logits [T, V] never exist.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from luthier.accel.attention import Route, base_model, use_route
from luthier.accel.head import HeadShape, score_hidden
from luthier.accel.scored_rows import Selection
from luthier.data.batch import Batch
from luthier.errors import ModelError
from luthier.objectives.base import Scores, Want


class _Head(NamedTuple):
    weight_VH: Tensor
    bias_V: Tensor | None


def head_shape(config: Any) -> HeadShape:
    """What the model's own forward does to its logits, read from the config fields that transformers uses for it."""
    text = config.get_text_config()
    scale = 1.0
    if getattr(text, "logits_scaling", None) is not None:  # Granite divides
        scale = 1.0 / text.logits_scaling
    elif getattr(text, "logit_scale", None) is not None:  # Cohere multiplies
        scale = float(text.logit_scale)
    return HeadShape(softcap=getattr(text, "final_logit_softcapping", None), scale=scale)


class ScoringModel(nn.Module):
    """Scores batches with a causal language model.

    Args:
        model: A transformers causal LM, or a PEFT model around one.
        route: How attention runs over the segments.
    """

    def __init__(self, model: nn.Module, route: Route) -> None:
        super().__init__()
        self.model = model
        self.shape = head_shape(self.causal_lm.config)
        if self.causal_lm.get_output_embeddings() is None:
            raise ModelError(
                f"{type(self.causal_lm).__name__} has no language-model head; only causal language models can be tuned."
            )
        use_route(model, route)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model under the adapters."""
        return base_model(self.model)

    @property
    def device(self) -> torch.device:
        """Where the model lives."""
        return next(self.model.parameters()).device

    def head(self) -> _Head:
        """Weight and bias of the language-model head; PEFT's trainable token rows are merged in by its own property."""
        head: Any = self.causal_lm.get_output_embeddings()
        return _Head(head.weight, getattr(head, "bias", None))

    def forward(self, batch: Batch, want: Want) -> Scores:
        """One pass over the batch; see `objectives.base.Scorer`."""
        selection = Selection(batch.targets.positions_S)
        hidden_TH = self.causal_lm.base_model(
            input_ids=batch.input_ids_T[None],
            position_ids=batch.position_ids_T[None],
            use_cache=False,
            segments=batch.segments,
            selection=selection,
        ).last_hidden_state[0]
        head = self.head()
        hidden_SH = hidden_TH if selection.is_done else hidden_TH[selection.rows_S]
        return score_hidden(hidden_SH, head.weight_VH, head.bias_V, batch.targets.ids_S, want, self.shape)
