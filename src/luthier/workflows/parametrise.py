"""From a recipe's adapter and precision sections to a model in memory: how its base is stored, and what is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from luthier.config import ExistingSection, FullSection, LoraSection, PeftSection, Recipe
from luthier.errors import InputError, ResourceError
from luthier.models.adapters import add_lora, add_peft, train_all
from luthier.models.earlier_adapter import continue_adapter, merge_adapter
from luthier.models.find_adapter import find_adapter
from luthier.models.fixed_update import attach
from luthier.models.load import ModelSource, load_causal_lm
from luthier.models.placement import Placement
from luthier.models.quantize import quantization
from luthier.plan.locate import cached_snapshot


def name_of_parametrisation(recipe: Recipe) -> str:
    """What is trained, in two or three words: lora, dora on nf4, ia3, full."""
    adapter = recipe.adapter
    if isinstance(adapter, FullSection):
        return "full"
    words = adapter.kind
    if isinstance(adapter, PeftSection):
        words = adapter.method.lower()
    elif isinstance(adapter, LoraSection):
        words = "dora" if adapter.dora else adapter.init if adapter.init in ("pissa", "loftq") else "lora"
    return words if recipe.precision.base == "compute" else f"{words} on {recipe.precision.base}"


def notes_on_parametrisation(recipe: Recipe, source: ModelSource) -> list[str]:
    """What a reader of a run's results should know about the weights that its adapter sits on."""
    notes: list[str] = []
    base = recipe.precision.base
    if base != "compute":
        notes.append(f"The base is quantised to {base} ({'QLoRA' if base == 'nf4' else 'bitsandbytes'}), here and wherever the "
                     "run is opened; the adapter fits these weights best.")  # fmt: skip
        if source.notes:
            notes.append(
                f"It was quantised before: weights that were de-quantised lose less by {base} than original ones would."
            )
    if isinstance(recipe.adapter, LoraSection) and recipe.adapter.merge_first is not None:
        notes.append(f"The adapter of {recipe.adapter.merge_first} was merged in first; the result holds both.")
    return notes


def load_base(recipe: Recipe, source: ModelSource, placement: Placement) -> PreTrainedModel:
    """The frozen base, stored as the recipe says."""
    stored = quantization(
        recipe.precision.base,
        placement.dtype,
        double=recipe.precision.double_quantization,
        device=placement.device,
    )
    return load_causal_lm(source, placement.dtype, placement.device, stored)


def token_ids(tokenizer: Any, tokens: Sequence[str]) -> tuple[int, ...]:
    """Numbers of tokens given as text.

    Raises:
        InputError: A text is not exactly one token.
    """
    ids: list[int] = []
    for token in tokens:
        found = tokenizer.encode(token, add_special_tokens=False)
        if len(found) != 1:
            pieces = ", ".join(repr(piece) for piece in tokenizer.convert_ids_to_tokens(found))
            raise InputError(
                f"adapter.trainable_tokens: {token!r} is not one token of this tokenizer but {len(found)}: {pieces}. Name tokens "
                "as the vocabulary has them."
            )
        ids += found
    return tuple(ids)


def parametrise(
    recipe: Recipe,
    model: PreTrainedModel,
    *,
    source: ModelSource,
    placement: Placement,
    trainable_token_ids: Sequence[int],
) -> torch.nn.Module:
    """Put on the base what the recipe trains.

    Args:
        recipe: Its adapter section and seed.
        model: From `load_base`, with all its tokens.
        source: Where the base came from.
        placement: Gives the number format of what is trained.
        trainable_token_ids: Rows of the embedding that mean nothing yet, or that the recipe names.
    """
    adapter, dtype, seed = recipe.adapter, placement.trained_dtype, recipe.train.seed
    if isinstance(adapter, FullSection):
        return train_all(model, dtype, adapter.freeze)
    if isinstance(adapter, ExistingSection):
        return continue_adapter(model, find_adapter(adapter.source, "adapter.source"), dtype)
    if isinstance(adapter, PeftSection):
        if trainable_token_ids:
            raise InputError(
                f"model.chat_template brings markers that the base has never seen; adapter.method={adapter.method} cannot train "
                "their embeddings. Use adapter={kind: lora}, or a template whose markers the model knows."
            )
        return add_peft(
            model,
            method=adapter.method,
            fields=adapter.fields,
            target_modules=adapter.target_modules,
            layers=adapter.layers,
            dtype=dtype,
            seed=seed,
        )
    parts: dict[str, Any] = {}
    if adapter.merge_first is not None:
        model, parts = merge_adapter(model, find_adapter(adapter.merge_first, "adapter.merge_first"))
    trained = add_lora(
        model,
        rank=adapter.rank,
        alpha=adapter.alpha,
        dropout=adapter.dropout,
        target_modules=adapter.target_modules,
        layers=adapter.layers,
        rank_pattern=adapter.rank_pattern,
        alpha_pattern=adapter.alpha_pattern,
        rslora=adapter.rslora,
        dora=adapter.dora,
        init=adapter.init,
        weights_folder=_weights_folder(source) if adapter.init == "loftq" else None,
        trainable_token_ids=trainable_token_ids,
        dtype=dtype,
        seed=seed,
    )
    for name, (A, B, scale) in parts.items():
        attach(trained.get_submodule(f"base_model.model.{name}"), A, B, scale)
    return trained


def _weights_folder(source: ModelSource) -> Path:
    path = Path(source.location)
    folder = path if path.is_dir() else cached_snapshot(source.location)
    if folder is None:
        raise ResourceError(
            f"adapter.init: loftq reads the weights of '{source.name}' again, and they are not on this disk."
        )
    return folder
