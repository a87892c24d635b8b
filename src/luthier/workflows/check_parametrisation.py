"""What a recipe's adapter and precision sections ask for and cannot be had, found before any model is read.

Cheap: PEFT is imported only where the recipe names one of its methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from luthier.config import ExistingSection, FullSection, LoraSection, PeftSection, Recipe
from luthier.errors import InputError
from luthier.models.find_adapter import find_adapter, refuse_other_base
from luthier.models.peft_methods import check_peft
from luthier.models.quantize import require_bitsandbytes


def parametrisation_problems(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """What cannot be, by the recipe alone: the field to blame, and the words; no model is read."""
    adapter, precision = recipe.adapter, recipe.precision
    if precision.base != "compute":
        if isinstance(adapter, FullSection):
            yield (
                "precision.base",
                f"precision.base is {precision.base}, but full fine-tuning changes the weights themselves; only frozen weights "
                "can be quantised. Use an adapter (adapter={kind: lora}) or precision.base=compute.",
            )
        yield from _caught("precision.base", lambda: require_bitsandbytes(f"precision.base={precision.base}"))
    if recipe.train.optimizer != "adamw":
        optimizer = f"train.optimizer={recipe.train.optimizer}"
        yield from _caught("train.optimizer", lambda: require_bitsandbytes(optimizer))
    if recipe.train.neftune_alpha and recipe.objective.name not in ("sft", "pretrain"):
        yield (
            "train.neftune_alpha",
            f"train.neftune_alpha: noise on the embeddings is for sft and pretrain; {recipe.objective.name} compares answers.",
        )
    if isinstance(adapter, PeftSection):
        yield from _caught("adapter.method", lambda: check_peft(adapter.method, adapter.fields, adapter.target_modules))
        if adapter.layers is not None and adapter.target_modules is None:
            yield "adapter.layers", "adapter.layers needs adapter.target_modules for a method of PEFT's."
    elif isinstance(adapter, LoraSection):
        yield from _lora_problems(adapter, precision.base)
        if adapter.merge_first is not None:
            yield from _earlier_problems(adapter.merge_first, recipe.model.name, "adapter.merge_first")
    elif isinstance(adapter, ExistingSection):
        yield from _earlier_problems(adapter.source, recipe.model.name, "adapter.source")


def _lora_problems(adapter: LoraSection, base: str) -> Iterator[tuple[str, str]]:
    if adapter.init == "loftq" and base != "nf4":
        yield "adapter.init", "adapter.init: loftq makes good for 4-bit quantisation; it needs precision.base=nf4."
    if adapter.init == "pissa" and base != "compute":
        yield (
            "adapter.init",
            f"adapter.init: pissa takes parts out of the weights, and {base} weights cannot be changed. Use adapter.init=loftq "
            "(with nf4), or precision.base=compute.",
        )
    if adapter.init == "pissa" and adapter.dora:
        yield (
            "adapter.init",
            "adapter.init: pissa takes parts out of the weights whose column lengths adapter.dora trains.",
        )
    if adapter.init == "orthogonal" and any(r % 2 for r in (adapter.rank, *adapter.rank_pattern.values())):
        yield "adapter.init", f"adapter.init: orthogonal needs even ranks; adapter.rank is {adapter.rank}."
    if adapter.dora and base == "int8":
        yield (
            "adapter.dora",
            "adapter.dora: PEFT's DoRA does not work on int8 weights. Use precision.base=nf4 or compute.",
        )
    if adapter.merge_first is not None and (base != "compute" or adapter.dora):
        what = f"precision.base={base}: quantised weights cannot be changed" if base != "compute" else (
            "adapter.dora: a DoRA adapter cannot be saved together with an earlier one"
        )  # fmt: skip
        yield "adapter.merge_first", f"adapter.merge_first does not go with {what}."


def _earlier_problems(name: str, base_name: str, field: str) -> Iterator[tuple[str, str]]:
    yield from _caught(field, lambda: refuse_other_base(find_adapter(name, field), base_name, field))


def _caught(field: str, look: Callable[[], None]) -> Iterator[tuple[str, str]]:
    try:
        look()
    except InputError as error:
        yield field, str(error)
