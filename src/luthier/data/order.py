"""Which rows an optimiser step sees: a pure function of seed and step, so that a resumed run needs no stored position."""

from __future__ import annotations

import math

import numpy as np


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """Optimiser steps in one pass; the last one may be smaller."""
    return math.ceil(num_rows / batch_size)


def total_steps(num_rows: int, batch_size: int, *, epochs: float, max_steps: int | None) -> int:
    """Optimiser steps of the whole training; a fraction of an epoch is rounded up to whole steps."""
    if max_steps is not None:
        return max_steps
    return max(1, math.ceil(round(epochs * steps_per_epoch(num_rows, batch_size), 6)))


def step_rows(num_rows: int, batch_size: int, *, seed: int, step: int) -> list[int]:
    """Indices of the rows of optimiser step `step` (from 0): each epoch is a new permutation without replacement."""
    epoch, step_in_epoch = divmod(step, steps_per_epoch(num_rows, batch_size))
    order = np.random.default_rng([seed, epoch]).permutation(num_rows)
    return order[step_in_epoch * batch_size : (step_in_epoch + 1) * batch_size].tolist()
