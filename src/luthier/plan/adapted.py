"""Which linear layers of a shape an adapter sits on, by the words that a recipe uses: the planner's side of `models.targets`.

A range of layers is not known here: what it leaves out is planned as if it were adapted, a few megabytes too many.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from luthier.plan.shapes import Linear, Shape

Names = tuple[str, ...] | Literal["all-linear"]


def adapted_names(wanted: Sequence[str] | str, shape: Shape) -> Names:
    """Last name parts of the adapted layers; a name that the shape does not have stays, for the caller to refuse.

    Args:
        wanted: all-linear, attention, mlp, or a list of names, patterns of full names and these words.
        shape: Of the model.
    """
    if wanted == "all-linear":
        return "all-linear"
    names: dict[str, None] = {}
    for item in [wanted] if isinstance(wanted, str) else wanted:
        if item == "all-linear":
            return "all-linear"
        found = [x.name for x in shape.linears() if _fits(x, item)]
        names |= dict.fromkeys(found or [item])
    return tuple(names)


def _fits(linear: Linear, item: str) -> bool:
    if item == linear.part:
        return True
    full = f"model.layers.0.{'self_attn' if linear.part == 'attention' else 'mlp'}.{linear.name}"
    return fnmatchcase(full, item) or fnmatchcase(full.replace(".0.", ".1."), item) or f".{full}".endswith(f".{item}")
