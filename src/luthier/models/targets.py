"""Which modules of a model an adapter sits on: by word (all-linear, attention, mlp), by name, by pattern, within some layers.

The answer is always full module names, so that a wrong name is found before anything is trained.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import nn
from transformers import PreTrainedModel

from luthier.errors import ModelError

WORDS = ("all-linear", "attention", "mlp")
_IS_ATTENTION = re.compile(r"(^|\.)(self_attn|attn|attention|self_attention|linear_attn)(\.|$)")
_IS_MLP = re.compile(r"(^|\.)(mlp|feed_forward|ffn|block_sparse_moe|experts?|fc1|fc2)(\.|$)")
_LAYER_NUMBER = re.compile(r"\.(\d+)\.")

Value = TypeVar("Value")


def is_linear(module: nn.Module) -> bool:
    """Linear layers in any storage: bitsandbytes' quantised ones are subclasses."""
    return isinstance(module, nn.Linear)


def linear_modules(model: PreTrainedModel) -> list[str]:
    """Full names of all linear layers but the head."""
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if is_linear(module) and module is not head]


def linear_names(model: PreTrainedModel) -> list[str]:
    """Last name parts of all linear layers but the head: what a wrong name is held against."""
    return sorted({name.rpartition(".")[2] for name in linear_modules(model)})


def layer_of(name: str) -> int | None:
    """Number of the layer that a module or parameter belongs to; None outside the layers (embeddings, last norm, head)."""
    found = _LAYER_NUMBER.search(f".{name}.")
    return int(found[1]) if found else None


def find_targets(model: PreTrainedModel, wanted: Sequence[str] | str, layers: str | None = None) -> list[str]:
    """Full names of the modules that `wanted` names, in the model's order.

    Args:
        model: The model, without an adapter.
        wanted: A word, or a list of words, names (``q_proj``, ``self_attn.q_proj``) and patterns (``*.q_proj``).
        layers: ``0-11``, ``12-``, ``3,5-7``; None for all.

    Raises:
        ModelError: A name or pattern fits no module, or a layer is not there.
    """
    chosen: set[str] = set()
    for item in [wanted] if isinstance(wanted, str) else wanted:
        chosen |= _matches(model, item, "adapter.target_modules")
    inside = _within_layers(model, chosen, layers)
    return [name for name, _ in model.named_modules() if name in inside]


def by_module(
    model: PreTrainedModel, pattern: Mapping[str, Value], targets: Iterable[str], field: str
) -> dict[str, Value]:
    """Values of a pattern such as ``{down_proj: 32}`` by full module name; a later entry wins.

    Raises:
        ModelError: An entry fits none of the adapted modules.
    """
    targets = set(targets)
    values: dict[str, Value] = {}
    for item, value in pattern.items():
        matches = _matches(model, item, field) & targets
        if not matches:
            raise ModelError(f"{field}: none of the adapted modules is '{item}'.")
        values |= dict.fromkeys(sorted(matches), value)
    return values


def _matches(model: PreTrainedModel, item: str, field: str) -> set[str]:
    if item in WORDS:
        found = {
            name
            for name in linear_modules(model)
            if item == "all-linear" or (_IS_ATTENTION if item == "attention" else _IS_MLP).search(name)
        }
        words = f"the model has no linear layers that count as {item}"
    elif any(c in item for c in "*?["):
        found = {name for name, _ in model.named_modules() if name and fnmatchcase(name, item)}
        words = f"no module's full name fits the pattern '{item}' (a full name: {_example(model)})"
    else:
        found = {name for name, _ in model.named_modules() if name == item or name.endswith(f".{item}")}
        near = difflib.get_close_matches(item, [*linear_names(model), *WORDS], n=1)
        words = f"the model has no module '{item}'" + (f". Did you mean '{near[0]}'?" if near else "")
    if not found:
        end = "" if words.endswith("?") else "."
        raise ModelError(f"{field}: {words}{end} Linear layers: {', '.join(linear_names(model))}.")
    return found


def _example(model: PreTrainedModel) -> str:
    return next(iter(linear_modules(model)), "")


def _within_layers(model: PreTrainedModel, names: set[str], layers: str | None) -> set[str]:
    if layers is None:
        return names
    numbers = {n for name, _ in model.named_modules() if (n := layer_of(name)) is not None}
    wanted: set[int] = set()
    top = max(numbers, default=-1)
    for part in layers.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last) if last else (top if dash else int(first))
        if high > top or low > high:
            raise ModelError(f"adapter.layers: {part} is out of range, the model has the layers 0 to {top}.")
        wanted |= set(range(low, high + 1))
    inside = {name for name in names if layer_of(name) in wanted}
    if not inside:
        raise ModelError(f"adapter.layers: none of the target modules lies in the layers {layers}.")
    return inside
