"""The losses of a run over its steps, from metrics.jsonl."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from luthier.runs.folder import RunFolder


class Curves(NamedTuple):
    """(step, loss) of training and of validation, in order; losses that are no numbers are left out."""

    train: list[tuple[int, float]]
    validation: list[tuple[int, float]]


def read_curves(folder: RunFolder) -> Curves:
    """Both are empty before the first step."""
    curves = Curves([], [])
    for record in folder.read_lines("metrics.jsonl"):
        loss = record.get("loss")
        if isinstance(loss, (int, float)) and math.isfinite(loss):
            side = curves.validation if record.get("kind") == "validation" else curves.train
            side.append((int(record["step"]), float(loss)))
    return curves


def thinned(values: Sequence[float], most: int) -> list[float]:
    """At most `most` values: means over equal stretches."""
    if len(values) <= most:
        return list(values)
    edges = [round(i * len(values) / most) for i in range(most + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
