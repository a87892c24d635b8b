"""When to stop before the last step: nothing has improved for too long. Pure functions of what was measured so far.

What is to improve is the criterion of each validation: its loss, or what a `Judgement` puts in its place; less is better. The
criteria are kept in the checkpoint, so a resumed run stops at the very step at which an uninterrupted one would. The learning
rate's schedule knows nothing of this: it runs over all steps of the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Judgement(NamedTuple):
    """What a validation decides beside its loss.

    Attributes:
        criterion: What goes into *best* and patience in the place of the loss, less is better; None: the loss.
        wants_stop: Whether the training is to end here.
    """

    criterion: float | None = None
    wants_stop: bool = False


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
