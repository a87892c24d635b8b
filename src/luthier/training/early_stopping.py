"""When to stop before the last step: the validation loss has not improved for too long. Pure functions of the losses so far.

The losses are kept in the checkpoint, so a resumed run stops at the very step at which an uninterrupted one would. The
learning rate's schedule knows nothing of this: it runs over all steps of the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def improves(loss: float, best: float | None) -> bool:
    """Whether `loss` is the lowest so far; a loss that is not a number never is."""
    return math.isfinite(loss) and (best is None or loss < best)


def num_without_improvement(losses: Sequence[float]) -> int:
    """Validations since the lowest loss; all of them where none was a number."""
    best, since = None, 0
    for loss in losses:
        best, since = (loss, 0) if improves(loss, best) else (best, since + 1)
    return since


def is_exhausted(losses: Sequence[float], patience: int | None) -> bool:
    """Whether the last `patience` validations brought no improvement; never without a patience."""
    return patience is not None and num_without_improvement(losses) >= patience
