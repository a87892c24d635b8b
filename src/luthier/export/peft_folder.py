"""What a PEFT folder changes in its base, weight by weight: LoRA, rsLoRA, DoRA, IA³, trained token rows, whole modules.

Only the folder is read, no model is built. What cannot be written as changed weights (prompts, prefixes) or is not known
here is refused by name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft.utils.other import get_pattern_key
from safetensors import SafetensorError, safe_open
from torch import Tensor

from luthier.errors import ModelError
from luthier.export.changes import (
    AddedBias,
    Change,
    DoraUpdate,
    EmbeddingLora,
    LoraUpdate,
    NewModule,
    NewRows,
    Scaling,
)

_PREFIX = "base_model.model."
OWN_KINDS = ("LORA", "IA3")
"""Kinds of PEFT's whose arithmetic is here."""
_BASE_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
_UNSUPPORTED_FLAGS = {
    "alora_invocation_tokens": "aLoRA, which is active on some tokens only",
    "layer_replication": "replicated layers",
    "target_parameters": "LoRA on bare parameters",
    "use_qalora": "QA-LoRA",
    "megatron_config": "Megatron layers",
}


@dataclass(frozen=True)
class PeftFolder:
    """An adapter.

    Attributes:
        kind: In words: LoRA, rsLoRA, DoRA, IA³.
        base: The base model, as the folder names it.
        config: adapter_config.json.
        changes: By the name of the changed tensor; applied in order.
    """

    path: Path
    kind: str
    base: str | None
    config: Mapping[str, Any]
    changes: Mapping[str, tuple[Change, ...]]

    @property
    def num_bytes(self) -> int:
        """Of its weights on the disk."""
        return sum(path.stat().st_size for path in self.path.glob("*.safetensors"))


def read_peft_folder(folder: Path) -> PeftFolder:
    """Read an adapter.

    Raises:
        ModelError: It is none, is damaged, or is of a kind whose effect cannot be put into weights.
    """
    path = folder / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no adapter_config.json, so it is no adapter.") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}.") from error
    _refuse_unmergeable(folder, config)
    by_module = _group(folder, _read_tensors(folder))
    changes: dict[str, tuple[Change, ...]] = {}
    for module, parts in by_module.items():
        for name, change in _changes(module, parts, config):
            changes[name] = (*changes.get(name, ()), change)
    return PeftFolder(folder, _kind(config), config.get("base_model_name_or_path"), config, changes)


def _kind(config: Mapping[str, Any]) -> str:
    if config["peft_type"] == "IA3":
        return "IA³"
    words = "DoRA" if config.get("use_dora") else "LoRA"
    return f"rs{words}" if config.get("use_rslora") else words


def _refuse_unmergeable(folder: Path, config: Mapping[str, Any]) -> None:
    kind = str(config.get("peft_type"))
    if kind not in OWN_KINDS:
        raise ModelError(
            f"The adapter in {folder} is of PEFT's kind {kind}, which is not a change of weights that could be merged. "
            "Export it as it is: --to adapter."
        )
    for flag, words in _UNSUPPORTED_FLAGS.items():
        if config.get(flag):
            raise ModelError(
                f"The adapter in {folder} uses {words} ({flag}), which cannot be merged here: --to adapter."
            )
    start = str(config.get("init_lora_weights", "")).lower()
    if start.startswith(_BASE_CHANGING):
        raise ModelError(
            f"The adapter in {folder} began as {start}, which changes the base weights too; they are not in the folder. Save it "
            "with PEFT's path_initial_model_for_weight_conversion first."
        )


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        raise ModelError(f"{folder} holds no adapter_model.safetensors.")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error


def _group(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by the module that they belong to, under the names of their parts."""
    endings = (
        "lora_A.weight",
        "lora_B.weight",
        "lora_B.bias",
        "lora_magnitude_vector",
        "lora_embedding_A",
        "lora_embedding_B",
        "ia3_l",
        "token_adapter.trainable_tokens_delta",
        "weight",
        "bias",
    )
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        ending = next((e for e in endings if name.endswith(f".{e}")), None)
        if ending is None or not name.startswith(_PREFIX):
            raise ModelError(f"The adapter in {folder} holds {name}, which is not known here, so it cannot be merged.")
        module = name[len(_PREFIX) : -len(ending) - 1]
        grouped.setdefault(module, {})[ending] = tensor
    return grouped


def _changes(module: str, parts: Mapping[str, Tensor], config: Mapping[str, Any]) -> list[tuple[str, Change]]:
    weight, bias = f"{module}.weight", f"{module}.bias"
    found: list[tuple[str, Change]] = []
    if "weight" in parts:  # modules_to_save
        found.append((weight, NewModule(parts["weight"])))
    if "bias" in parts:
        found.append((bias, NewModule(parts["bias"])))
    if "lora_A.weight" in parts:
        down, up = parts["lora_A.weight"], parts["lora_B.weight"]
        scale = _scale(module, down.shape[0], config)
        transposed = bool(config.get("fan_in_fan_out"))
        if "lora_magnitude_vector" in parts:
            found.append((weight, DoraUpdate(down, up, scale, parts["lora_magnitude_vector"], transposed)))
        else:
            found.append((weight, LoraUpdate(down, up, scale, transposed)))
        if "lora_B.bias" in parts:
            found.append((bias, AddedBias(parts["lora_B.bias"], scale)))
    if "lora_embedding_A" in parts:
        down, up = parts["lora_embedding_A"], parts["lora_embedding_B"]
        found.append((weight, EmbeddingLora(down, up, _scale(module, down.shape[0], config))))
    if "ia3_l" in parts:
        factors = parts["ia3_l"]
        found.append((weight, Scaling(factors)))
        if factors.shape[1] == 1:  # on the output: what the bias adds is scaled too
            found.append((bias, Scaling(factors[:, 0])))
    if "token_adapter.trainable_tokens_delta" in parts:
        rows = parts["token_adapter.trainable_tokens_delta"]
        found.append((weight, NewRows(rows, _token_ids(module, config))))
    return found


def _scale(module: str, rank: int, config: Mapping[str, Any]) -> float:
    """α / r, or α / √r with rsLoRA (Kalajdzievski 2023); patterns choose per module as PEFT does."""
    patterns = config.get("alpha_pattern") or {}
    alpha = patterns.get(get_pattern_key(list(patterns), module), config["lora_alpha"])
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _token_ids(module: str, config: Mapping[str, Any]) -> tuple[int, ...]:
    indices = config.get("trainable_token_indices") or {}
    if isinstance(indices, list):
        return tuple(indices)
    name = next((name for name in indices if module == name or module.endswith(f".{name}")), None)
    if name is None:
        raise ModelError(f"The adapter trains token rows of {module}, but its config does not say which.")
    return tuple(indices[name])


def scalings(folder: PeftFolder) -> dict[str, float]:
    """The factor of each LoRA update, by tensor: what a GGUF adapter, which knows one α, has to agree on."""
    return {
        name: change.scale
        for name, changes in folder.changes.items()
        for change in changes
        if isinstance(change, LoraUpdate)
    }
