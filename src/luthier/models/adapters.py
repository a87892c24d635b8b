"""Which parameters of a loaded model are trained: a PEFT adapter beside frozen weights, or all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from luthier.errors import ModelError
from luthier.models.quiet import quiet_libraries


def linear_names(model: PreTrainedModel) -> list[str]:
    """Last name parts of all linear layers but the head: what `all-linear` adapts, and what a wrong name is held against."""
    head = model.get_output_embeddings()
    return sorted(
        {name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head}
    )


def add_lora(
    model: PreTrainedModel,
    *,
    rank: int,
    alpha: float,
    dropout: float,
    target_modules: Sequence[str] | Literal["all-linear"],
    trainable_token_ids: Sequence[int] = (),
    dtype: torch.dtype,
    seed: int,
) -> PeftModel:
    """Put LoRA beside the frozen weights; A and B in `dtype`, their initial values fixed by `seed`.

    `trainable_token_ids` are rows of the embedding (and of an untied head) that are trained too: markers of a chat template
    that the base model has never seen.

    Raises:
        ModelError: A target module does not exist.
    """
    if target_modules != "all-linear":
        _refuse_unknown_modules(model, target_modules)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT computes alpha / r; a float works
        lora_dropout=dropout,
        target_modules=target_modules if isinstance(target_modules, str) else list(target_modules),
        trainable_token_indices=_token_indices(model, trainable_token_ids) or None,
        bias="none",
    )
    with quiet_libraries(), torch.random.fork_rng(devices=[] if model.device.type == "cpu" else None):
        torch.manual_seed(seed)
        peft_model = get_peft_model(model, config, autocast_adapter_dtype=False)
    assert isinstance(peft_model, PeftModel)
    for parameter in trained_parameters(peft_model).values():
        parameter.data = parameter.data.to(dtype)
    return peft_model


def _refuse_unknown_modules(model: PreTrainedModel, target_modules: Sequence[str]) -> None:
    import difflib

    known = linear_names(model)
    for name in target_modules:
        if not any(full == name or full.endswith(f".{name}") for full, _ in model.named_modules()):
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ModelError(
                f"adapter.target_modules: the model has no module '{name}'.{hint} Linear layers: {', '.join(known)}."
            )


def _token_indices(model: PreTrainedModel, ids: Sequence[int]) -> dict[str, list[int]]:
    if not ids:
        return {}
    names = {id(module): name for name, module in model.named_modules()}
    embedding = names[id(model.get_input_embeddings())]
    indices = {embedding.rsplit(".", 1)[-1]: list(ids)}
    if not model.config.get_text_config().tie_word_embeddings:
        indices[names[id(model.get_output_embeddings())].rsplit(".", 1)[-1]] = list(ids)
    return indices


def train_all(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Make every parameter trainable, stored in `dtype`."""
    network: Any = model  # transformers' annotations of `to` do not know its argument
    return network.to(dtype).requires_grad_(True)


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
