"""Live references: the policy before training, scored beside the one that learns, without gradient.

An adapter that is switched off leaves its base: no second model is needed. Full fine-tuning needs a frozen copy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor

from luthier.accel.scorer import ScoringModel
from luthier.data.batch import Batch
from luthier.errors import ModelError
from luthier.objectives.answers import score_segments


class LiveReference:
    """Scores batches with the model as it was before training.

    Args:
        scoring: With an adapter: the very model that is trained. Without: a copy of it that nothing trains.

    Raises:
        ModelError: The model has no adapter to switch off and is itself trained, so it would be its own reference.
    """

    def __init__(self, scoring: ScoringModel) -> None:
        self._scoring = scoring
        if not isinstance(scoring.model, PeftModel) and any(p.requires_grad for p in scoring.parameters()):
            raise ModelError(
                "The reference is the very model that is trained: all rewards would be zero. Take a frozen copy of it, or its "
                "cached log-probabilities (objective.reference: cached)."
            )

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Log-probability of each segment's targets."""
        with _adapter_off(self._scoring):
            return score_segments(self._scoring, batch).logprob_N


def frozen_copy(scoring: ScoringModel) -> ScoringModel:
    """The same model once more, as it is now; nothing trains it."""
    copied = copy.deepcopy(scoring).requires_grad_(False)
    return copied.eval()


@contextmanager
def _adapter_off(scoring: ScoringModel) -> Iterator[None]:
    """Inside, the model is the one before training: no adapter, no dropout."""
    was_training = scoring.training
    layers: list[Any] = [m for m in scoring.modules() if isinstance(m, BaseTunerLayer | AuxiliaryTrainingWrapper)]
    were_off = [layer._disable_adapters for layer in layers]
    scoring.eval()
    # Not PEFT's own disable_adapter: that one sets requires_grad of all adapter weights, frozen ones and those of a graph that
    # waits for its backward pass included.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer, was_off in zip(layers, were_off, strict=True):
            layer._disable_adapters = was_off
        scoring.train(was_training)
