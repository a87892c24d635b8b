"""What a training leaves behind: an adapter folder (PEFT layout) or a model folder (Hugging Face layout), with its tokenizer.

Saving and re-opening are one subject here: a saved artefact that was not read back is a hope.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from luthier.models.fixed_update import has_fixed_updates, stacked_config, stacked_tensors
from luthier.models.quiet import quiet_libraries

Kind = Literal["adapter", "model"]


def result_kind(model: nn.Module) -> Kind:
    """Which of the two a model leaves; also the name of the folder."""
    return "adapter" if isinstance(model, PeftModel) else "model"


def save_result(model: nn.Module, tokenizer: Any, folder: Path, *, base_name: str) -> None:
    """Write the trained weights and the tokenizer; the folder appears whole or not at all.

    Args:
        model: The trained model.
        tokenizer: With the chat template that was trained.
        folder: Target; replaced if it exists.
        base_name: Written into an adapter's config, so that it names its base as the user did.
    """
    aside = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with quiet_libraries():
            _write(model, tokenizer, aside, base_name)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(model: nn.Module, tokenizer: Any, folder: Path, base_name: str) -> None:
    if isinstance(model, PeftModel):
        # Embeddings are never saved whole: trained rows are part of the adapter.
        model.save_pretrained(str(folder), save_embedding_layers=False)
        config_path = folder / "adapter_config.json"
        config = json.loads(config_path.read_text())
        if has_fixed_updates(model):
            config = stacked_config(model, config)
            save_file({name: t.cpu() for name, t in expected_tensors(model).items()}, folder / SAFETENSORS_WEIGHTS_NAME)
        config_path.write_text(json.dumps({**config, "base_model_name_or_path": base_name}, indent=2, sort_keys=True))
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's form to fill in; the run folder says it all
    else:
        assert isinstance(model, PreTrainedModel)
        _save_plain(model, folder)
    tokenizer.save_pretrained(str(folder))


def _save_plain(model: PreTrainedModel, folder: Path) -> None:
    # The config must not name our attention: other programs would not know it.
    ours = model.config._attn_implementation
    model.config._attn_implementation = "sdpa"
    try:
        model.save_pretrained(str(folder))
    finally:
        model.config._attn_implementation = ours


def expected_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a saved folder must hold, by the names it has there; a tensor that is tied to another one stands once."""
    if isinstance(model, PeftModel):
        tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
        return stacked_tensors(model, tensors) if has_fixed_updates(model) else tensors
    assert isinstance(model, PreTrainedModel)
    by_storage: dict[int, str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if by_storage.setdefault(tensor.data_ptr(), name) == name:
            tensors[name] = tensor
    return tensors


def saved_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of all safetensors files of a folder."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - not a dict
    return tensors


def differences(model: nn.Module, folder: Path) -> list[str]:
    """What a saved folder holds otherwise than the live model, in words; empty when all is equal."""
    live, saved = expected_tensors(model), saved_tensors(folder)
    if not saved:
        return [f"{folder.name} holds no tensors"]
    found = [f"{name} is missing" for name in live if name not in saved]
    found += [f"{name} is not of this model" for name in saved if name not in live]
    for name in live.keys() & saved.keys():
        if live[name].shape != saved[name].shape:
            found.append(f"{name} has shape {tuple(saved[name].shape)}, should be {tuple(live[name].shape)}")
        elif not torch.equal(live[name].detach().cpu(), saved[name]):
            found.append(f"{name} has other values")
    return sorted(found)
