"""Adapters put on a model in memory and taken off it again, without touching what it answers meanwhile with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError

from luthier.errors import ModelError
from luthier.generate.adapter_mix import can_mix
from luthier.generate.batched import refuse_unsupported
from luthier.models.quiet import quiet_libraries


def add_adapter(model: Any, folder: Path, name: str) -> Any:
    """The model with one adapter more.

    Args:
        model: The base model, or a PeftModel around it.
        folder: In PEFT's layout.
        name: New, without dots: never one that was taken off, because slots remember whose entries they hold.

    Raises:
        ModelError: It does not fit the model, or could not be answered together with the others.
    """
    device, was_mixed = str(model.device), can_mix(model)
    try:
        with quiet_libraries():
            if isinstance(model, PeftModel):
                model.load_adapter(str(folder), adapter_name=name, autocast_adapter_dtype=False, torch_device=device)
                grown: Any = model
            else:
                grown = PeftModel.from_pretrained(
                    model, str(folder), adapter_name=name, autocast_adapter_dtype=False, torch_device=device
                )
    except Exception as error:
        _take_back(model, name)
        if not isinstance(error, RuntimeError | ValueError | KeyError | OSError | SafetensorError):
            raise
        raise ModelError(
            f"The adapter does not fit the model: {(str(error) or repr(error)).splitlines()[0]}"
        ) from error
    grown.eval().requires_grad_(False)
    try:
        refuse_unsupported(grown, use_adapter=True)
        if was_mixed and not can_mix(grown):
            raise ModelError(
                "Its kind cannot be answered in one batch with the adapters that are loaded. Serve it alone."
            )
    except ModelError:
        remove_adapter(grown, name)
        raise
    return grown


def remove_adapter(model: Any, name: str) -> Any:
    """The model with one adapter less; the base model itself where it was the last."""
    with quiet_libraries():
        if len(model.peft_config) == 1:
            return model.unload()
        model.delete_adapter(name)
    model.requires_grad_(False)
    return model


def _take_back(model: Any, name: str) -> None:
    """Undo what a failed attempt has done: half an adapter would answer."""
    if isinstance(model, PeftModel):
        if name in model.peft_config:
            model.delete_adapter(name)
        return
    for path, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent, _, last = path.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
