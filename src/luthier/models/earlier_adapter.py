"""An adapter that an earlier run made, on its base: trained further, or merged into the weights for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import Linear as PeftLoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from transformers import PreTrainedModel

from luthier.errors import ModelError
from luthier.models.quiet import quiet_libraries


def continue_adapter(model: PreTrainedModel, folder: Path, dtype: torch.dtype) -> PeftModel:
    """Put a saved adapter on its base, trainable, its tensors in `dtype`.

    Raises:
        ModelError: It does not fit the model.
    """
    peft_model = _open(model, folder, is_trainable=True)
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    return peft_model


def _open(model: PreTrainedModel, folder: Path, *, is_trainable: bool) -> PeftModel:
    try:
        with quiet_libraries():
            return PeftModel.from_pretrained(model, folder, is_trainable=is_trainable, autocast_adapter_dtype=False)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"The adapter in {folder} does not fit the model: {str(error).splitlines()[0]}") from error


Part = tuple[Tensor, Tensor, float]


def merge_adapter(model: PreTrainedModel, folder: Path) -> tuple[PreTrainedModel, dict[str, Part]]:
    """Add an adapter's update to the weights for good.

    Returns:
        The model, and by full module name what was added: A, B and their scale.

    Raises:
        ModelError: It does not fit the model, or it is more than LoRA on linear layers, so that a later adapter could not be
            saved together with it.
    """
    peft_model = _open(model, folder, is_trainable=False)
    parts: dict[str, Part] = {}
    for name, module in peft_model.named_modules():
        if not isinstance(module, BaseTunerLayer):
            continue
        layer: Any = module
        if type(module) is not PeftLoraLinear or any(layer.lora_variant.values()):
            kind = "DoRA" if isinstance(module, PeftLoraLinear) else type(module).__name__
            raise ModelError(
                f"adapter.merge_first: the adapter in {folder} is more than plain LoRA on linear layers ({kind} at {name}); it "
                "could not be saved together with a second one. Train it further instead: adapter={kind: existing, source: …}"
            )
        A, B = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
        parts[name.removeprefix("base_model.model.")] = (A, B, float(layer.scaling["default"]))
    with quiet_libraries():
        merged: Any = peft_model.merge_and_unload(safe_merge=True)
    return merged, parts
