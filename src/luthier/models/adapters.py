"""Which parameters of a loaded model are trained: a PEFT adapter beside frozen weights, or the weights themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from luthier.errors import ModelError
from luthier.models.lora_init import begin_with_loftq, begin_with_pissa
from luthier.models.peft_methods import peft_config, takes_target_modules
from luthier.models.quantize import is_quantised
from luthier.models.quiet import quiet_libraries
from luthier.models.targets import WORDS, by_module, find_targets

Init = Literal["kaiming", "gaussian", "orthogonal", "pissa", "loftq"]


def add_lora(
    model: PreTrainedModel,
    *,
    rank: int,
    alpha: float,
    dropout: float,
    target_modules: Sequence[str] | str,
    layers: str | None = None,
    rank_pattern: Mapping[str, int] | None = None,
    alpha_pattern: Mapping[str, float] | None = None,
    rslora: bool = False,
    dora: bool = False,
    init: Init = "kaiming",
    weights_folder: Path | None = None,
    trainable_token_ids: Sequence[int] = (),
    dtype: torch.dtype,
    seed: int,
) -> PeftModel:
    """Put LoRA beside the frozen weights; A and B in `dtype`, their initial values fixed by `seed`.

    Args:
        target_modules: all-linear, attention, mlp, or a list of names, patterns and these words.
        layers: ``0-11``, ``12-``; None for all.
        rank_pattern: Other ranks, by names as in `target_modules`.
        alpha_pattern: Other alphas, likewise.
        rslora: Scale by alpha / √rank.
        dora: Train the columns' lengths apart from their directions.
        init: Where A and B begin; pissa changes the frozen weights and notes what it took (`models.fixed_update`).
        weights_folder: For loftq: the folder with the weights before quantisation.
        trainable_token_ids: Rows of the embedding (and of an untied head) that are trained too.

    Raises:
        ModelError: A target module does not exist, or the choices exclude each other.
    """
    if init == "pissa" and (dora or is_quantised(model)):
        what = "DoRA" if dora else "quantised weights"
        raise ModelError(f"adapter.init: pissa takes parts out of the weights; that does not go with {what}.")
    if init == "orthogonal" and (rank % 2 or any(r % 2 for r in (rank_pattern or {}).values())):
        raise ModelError(f"adapter.init: orthogonal needs even ranks, adapter.rank is {rank}.")
    if init == "loftq" and (weights_folder is None or not is_quantised(model)):
        raise ModelError("adapter.init: loftq makes good for 4-bit quantisation; it needs precision.base=nf4.")
    targets = find_targets(model, target_modules, layers)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT computes alpha / r; a float works
        lora_dropout=dropout,
        target_modules=_as_peft_takes(target_modules, layers, targets),
        rank_pattern=by_module(model, rank_pattern or {}, targets, "adapter.rank_pattern"),
        alpha_pattern=by_module(model, alpha_pattern or {}, targets, "adapter.alpha_pattern"),
        use_rslora=rslora,
        use_dora=dora,
        init_lora_weights={"gaussian": "gaussian", "orthogonal": "orthogonal"}.get(init, True),  # type: ignore[arg-type]
        trainable_token_indices=_token_indices(model, trainable_token_ids) or None,
        bias="none",
    )
    peft_model = _attach(model, config, seed)
    if init == "pissa":
        with _seeded(model, seed):
            begin_with_pissa(peft_model, dtype)
    elif init == "loftq":
        assert weights_folder is not None
        with _seeded(model, seed):
            begin_with_loftq(peft_model, weights_folder, dtype)
    return _stored_as(peft_model, dtype)


def _as_peft_takes(target_modules: Sequence[str] | str, layers: str | None, targets: list[str]) -> str | list[str]:
    """What PEFT understands itself stays as it was written, also in the saved config; everything else by full names."""
    if layers is not None or (isinstance(target_modules, str) and target_modules != "all-linear"):
        return targets
    if isinstance(target_modules, str):
        return target_modules
    is_named = not any(item in WORDS or any(c in item for c in "*?[") for item in target_modules)
    return list(target_modules) if is_named else targets


def add_peft(
    model: PreTrainedModel,
    *,
    method: str,
    fields: Mapping[str, Any],
    target_modules: Sequence[str] | str | None,
    layers: str | None,
    dtype: torch.dtype,
    seed: int,
) -> PeftModel:
    """Put an adapter of any of PEFT's methods on the model; its own fields, its trained tensors in `dtype`.

    Raises:
        InputError: PEFT refuses the fields, or does not know which modules of this model the method adapts.
    """
    named: dict[str, Any] = {}
    if target_modules is not None:
        if not takes_target_modules(method):
            raise ModelError(f"adapter.target_modules: {method} does not take any.")
        found = find_targets(model, target_modules, layers)
        named = {"target_modules": _as_peft_takes(target_modules, layers, found)}
    elif layers is not None:
        raise ModelError("adapter.layers needs adapter.target_modules for a method of PEFT's.")
    config = peft_config(method, {**fields, **named})
    try:
        peft_model = _attach(model, config, seed)
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"adapter.method: {method} cannot be put on this model: {str(error).splitlines()[0]}"
        ) from error
    return _stored_as(peft_model, dtype)


def _attach(model: PreTrainedModel, config: Any, seed: int) -> PeftModel:
    with quiet_libraries(), _seeded(model, seed):
        peft_model = get_peft_model(model, config, autocast_adapter_dtype=False)
    assert isinstance(peft_model, PeftModel)
    return peft_model


@contextmanager
def _seeded(model: nn.Module, seed: int) -> Iterator[None]:
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else None):
        torch.manual_seed(seed)
        yield


def _stored_as(model: PeftModel, dtype: torch.dtype) -> PeftModel:
    for parameter in trained_parameters(model).values():
        parameter.data = parameter.data.to(dtype)
    return model


def has_dropout(model: nn.Module) -> bool:
    """Whether two uses of the same token are computed with different random masks while training."""
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())


def _token_indices(model: PreTrainedModel, ids: Sequence[int]) -> dict[str, list[int]]:
    if not ids:
        return {}
    names = {id(module): name for name, module in model.named_modules()}
    embedding = names[id(model.get_input_embeddings())]
    indices = {embedding.rsplit(".", 1)[-1]: list(ids)}
    if not model.config.get_text_config().tie_word_embeddings:
        indices[names[id(model.get_output_embeddings())].rsplit(".", 1)[-1]] = list(ids)
    return indices


def train_all(model: PreTrainedModel, dtype: torch.dtype, freeze: Sequence[str] = ()) -> PreTrainedModel:
    """Make every parameter trainable, stored in `dtype`, but those that `freeze` names.

    Args:
        freeze: Names (``embed_tokens``) or patterns of full names (``model.layers.[0-5].*``).

    Raises:
        ModelError: One of them fits no parameter, or nothing is left to train.
    """
    network: Any = model  # transformers' annotations of `to` do not know its argument
    network = network.to(dtype).requires_grad_(True)
    for item in freeze:
        is_pattern = any(c in item for c in "*?[")
        found = [
            parameter
            for name, parameter in network.named_parameters()
            if (fnmatchcase(name, item) if is_pattern else f".{item}." in f".{name}.")
        ]
        if not found:
            example = ", ".join(list(dict(network.named_parameters()))[1:4])
            raise ModelError(f"adapter.freeze: '{item}' fits no parameter. Full names are like: {example}.")
        for parameter in found:
            parameter.requires_grad_(False)
    if not trained_parameters(network):
        raise ModelError("adapter.freeze: nothing is left to train.")
    return network


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that receive gradients, by name, in a fixed order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def frozen_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters that must not change."""
    return {name: p for name, p in model.named_parameters() if not p.requires_grad}


@torch.no_grad()
def add_tokens(model: PreTrainedModel, tokenizer: Any, new_tokens: Sequence[str]) -> None:
    """Give new special tokens their rows in the embeddings, at the mean of the rows before them.

    Rows are added where there are too few. Vocabularies are often padded: then the rows are there, but mean nothing.
    """
    if not new_tokens:
        return
    tokenizer.add_special_tokens({"additional_special_tokens": list(new_tokens)}, replace_extra_special_tokens=False)
    grow_embeddings(model, tokenizer)
    ids = sorted(tokenizer.convert_tokens_to_ids(list(new_tokens)))
    for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
        assert embedding is not None
        rows = embedding.weight
        assert isinstance(rows, Tensor)
        rows[ids] = rows[: ids[0]].mean(dim=0, dtype=torch.float32).to(rows.dtype)


def grow_embeddings(model: PreTrainedModel, tokenizer: Any) -> None:
    """Add rows until every token of the tokenizer has one."""
    rows = model.get_input_embeddings().weight
    assert isinstance(rows, Tensor)
    if len(tokenizer) > rows.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put a saved adapter on its base, in the stored number format.

    Raises:
        ModelError: The folder holds no adapter, or one for another base.
    """
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder} holds no adapter_config.json.")
    try:
        with quiet_libraries():
            return PeftModel.from_pretrained(model, folder, autocast_adapter_dtype=False)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"The adapter in {folder} does not fit the model: {str(error).splitlines()[0]}") from error


def without_adapter(model: nn.Module) -> dict[str, Tensor]:
    """Tensors of the base model alone, by name, of a model with its adapter beside it; all tensors of one that has none."""
    tensors = model.state_dict()
    if not isinstance(model, PeftModel):
        return tensors
    marks = [f".{name}." for name in model.peft_config]  # PEFT puts the adapter's name into those of its tensors
    return {name: tensor for name, tensor in tensors.items() if not any(mark in f".{name}." for mark in marks)}


def describe_training(model: nn.Module) -> tuple[int, int]:
    """Numbers of trained and of all parameters."""
    return sum(math.prod(p.shape) for p in trained_parameters(model).values()), sum(
        p.numel() for p in model.parameters()
    )
