"""The learning rate as a pure function of the step: nothing to save, nothing to restore, nothing to drift."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def learning_rate(step: int, *, peak: float, total_steps: int, warmup_steps: int, schedule: Schedule) -> float:
    """Rate of optimiser step `step` (from 0).

    Rises linearly over `warmup_steps`, reaching `peak` at the end of them (the first step is never 0: a step that changes
    nothing is waste), then falls to 0 at `total_steps` along half a cosine or a line, or stays.
    """
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return peak
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "linear":
        return peak * (1 - done)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def warmup_steps(fraction: float, total_steps: int) -> int:
    """Whole steps of warm-up."""
    return math.ceil(fraction * total_steps) if fraction > 0 else 0
