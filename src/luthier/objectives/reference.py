"""The reference policy as an objective sees it: log-probabilities of the answers under the model before training."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from luthier.data.batch import Batch


class Reference(Protocol):
    """A policy that does not learn."""

    def __call__(self, batch: Batch) -> Tensor:
        """Log-probability of each segment's targets, nats, [N]; without gradient."""
        ...


class CachedReference:
    """Log-probabilities that were computed before the first step and came with the batch."""

    def __call__(self, batch: Batch) -> Tensor:
        """Those of the batch."""
        assert batch.reference_N is not None, "the batch brings no reference log-probabilities"
        return batch.reference_N
