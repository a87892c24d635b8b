"""What each layer keeps for its backward pass. This is the one type for it: the planner chooses it, the engine carries it out.

all         everything that the backward pass reads: no extra work
attention   the attention's part; the MLP's inner tensors are computed again (one MLP forward more)
input       only the layer's input; the whole layer is computed again (one forward more)
offload     as input, and the input waits in the host's memory
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Keeps = Literal["all", "attention", "input", "offload"]
KINDS: tuple[Keeps, ...] = get_args(Keeps)


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """One entry per layer, lowest first."""

    layers: tuple[Keeps, ...]

    def __post_init__(self) -> None:
        unknown = set(self.layers) - set(KINDS)
        assert not unknown, unknown

    @classmethod
    def keep_all(cls, num_layers: int) -> CheckpointPolicy:
        """Nothing is computed twice."""
        return cls(("all",) * num_layers)

    @classmethod
    def recompute_all(cls, num_layers: int) -> CheckpointPolicy:
        """Every layer is computed again: what transformers calls gradient checkpointing."""
        return cls(("input",) * num_layers)

    @classmethod
    def mixed(cls, num_layers: int, counts: Mapping[Keeps, int]) -> CheckpointPolicy:
        """`counts` layers of each kind, the cheapest to keep on top; the rest keeps all.

        The lowest layers are those that give memory back last, so they are the ones that are computed again.
        """
        ranked: tuple[Keeps, ...] = ("offload", "input", "attention")
        order: list[Keeps] = [kind for kind in ranked for _ in range(counts.get(kind, 0))]
        assert len(order) <= num_layers, counts
        keeps: tuple[Keeps, ...] = ("all",) * (num_layers - len(order))
        return cls((*order, *keeps))

    @property
    def counts(self) -> dict[Keeps, int]:
        """Layers of each kind that occurs."""
        found = Counter(self.layers)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    @property
    def recomputes(self) -> bool:
        """Whether anything is computed twice."""
        return any(kind != "all" for kind in self.layers)

    def __str__(self) -> str:
        words = {
            "all": "keep everything",
            "attention": "compute MLPs again",
            "input": "compute again",
            "offload": "compute again, inputs on the host",
        }
        if len(self.counts) == 1:
            return f"{words[self.layers[0]]} (all {len(self.layers)} layers)"
        return ", ".join(f"{words[kind]} in {count} layers" for kind, count in self.counts.items())
