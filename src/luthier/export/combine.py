"""Several adapters on one base become one change of each weight: weighted sum, TIES, DARE or the best low rank.

Every method works on the whole updates of a weight, not on their factors: A and B of different adapters do not share a basis,
so combining factors is only a rough guess of what it says. PEFT calls the same methods cat, ties_svd and dare_linear_svd (at
full rank) and svd; its arithmetic is used.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from peft.utils.merge_utils import dare_linear, task_arithmetic, ties
from torch import Tensor

from luthier.errors import InputError

Method = Literal["linear", "ties", "dare", "svd"]
METHODS: dict[str, str] = {
    "linear": "weighted sum of the updates",
    "ties": "keep the largest shares, agree on signs, average (Yadav et al. 2023)",
    "dare": "drop values at random, scale up the rest, add (Yu et al. 2023)",
    "svd": "the weighted sum, cut to the rank that keeps most of it",
}


@dataclass(frozen=True, slots=True)
class Combination:
    """How updates are combined.

    Attributes:
        weights: One per adapter.
        density: Share of each update that is kept (ties, dare).
        rank: Of the result (svd).
        seed: For what dare drops; each weight's draw depends on its name too, so order does not matter.
    """

    method: Method
    weights: tuple[float, ...]
    density: float = 0.5
    rank: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(
                f"There is no method '{self.method}' to combine adapters. There are: {', '.join(METHODS)}."
            )
        if not 0 < self.density <= 1:
            raise InputError(f"The density is {self.density}; it is the share that is kept: above 0, at most 1.")
        if self.rank < 1:
            raise InputError(f"The rank is {self.rank}; it has to be 1 or more.")

    def describe(self) -> str:
        """In words, for the model card."""
        settings = {"ties": f", density {self.density:g}", "dare": f", density {self.density:g}, seed {self.seed}"}
        rank = f", rank {self.rank}" if self.method == "svd" else ""
        return (
            f"{self.method}{settings.get(self.method, '')}{rank}, weights {', '.join(f'{w:g}' for w in self.weights)}"
        )


def combine_updates(updates: Sequence[Tensor], weights: Sequence[float], how: Combination, name: str) -> Tensor:
    """One update of several, fp32.

    Args:
        updates: Of the adapters that change this weight.
        weights: Theirs.
        how: The method and its settings.
        name: Of the weight: decides, with the seed, what dare drops.
    """
    weights_A = torch.tensor(list(weights), dtype=torch.float32)
    stacked = list(updates)
    if how.method == "ties":
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # PEFT warns at density 1 that nothing is pruned, which is what was asked for
            return ties(stacked, weights_A, how.density)
    if how.method == "dare" and how.density < 1:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed(how.seed, name))
            return dare_linear(stacked, weights_A, how.density)
    total = task_arithmetic(stacked, weights_A)
    return _truncate(total, how.rank) if how.method == "svd" else total


def _seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}|{name}".encode()).digest()[:8], "big") % 2**63


def _truncate(update: Tensor, rank: int) -> Tensor:
    if update.ndim != 2 or rank >= min(update.shape):
        return update
    left, values, right = torch.linalg.svd(update, full_matrices=False)
    return (left[:, :rank] * values[:rank]) @ right[:rank]
