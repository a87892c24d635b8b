"""From a model's name to weights and tokenizer in memory. Offline it looks only at what is on the disk, and says so."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from luthier.errors import ModelError
from luthier.models.builtin import BUILTIN, cached, fetch
from luthier.models.quantize import keep_gradients
from luthier.models.quiet import quiet_libraries
from luthier.plan.catalogue import find_in_catalogue
from luthier.reporter import Reporter


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model is loaded from.

    Attributes:
        name: As given in the recipe.
        location: A folder, or a hub id.
        revision: For hub ids.
        notes: What a reader of results should know about these weights.
    """

    name: str
    location: str
    revision: str | None
    notes: tuple[str, ...] = ()


def find_model(name: str, revision: str | None = None, reporter: Reporter | None = None) -> ModelSource:
    """Resolve a built-in name (fetched if need be), a local folder, a catalogue name or a hub id; no weights are read.

    Raises:
        ModelError: There is nothing by that name, or it is out of reach while offline.
    """
    is_local = name.lower() in BUILTIN or Path(name).expanduser().is_dir()
    if is_local and revision is not None:
        raise ModelError(
            f"model.revision is {revision!r}, but only hub models have revisions; '{name}' is on this machine."
        )
    if name.lower() in BUILTIN:
        builtin = BUILTIN[name.lower()]
        return ModelSource(name, str(fetch(builtin.name, reporter)), None, (builtin.note,))
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            files = sorted(p.name for p in path.iterdir())[:8]
            raise ModelError(
                f"{path} holds no config.json, so it is not a model folder. It holds: {', '.join(files) or 'nothing'}."
            )
        return ModelSource(name, str(path), None)
    row = find_in_catalogue(name)
    if row is not None:
        _read_config(row.hub, revision)
        return ModelSource(name, row.hub, revision)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise ModelError(
            f"No model '{name}': neither a built-in name, nor a folder, nor a hub id (owner/name). {_known()}"
        )
    _read_config(name, revision)
    return ModelSource(name, name, revision)


def _known() -> str:
    ready = ", ".join(cached()) or "none"
    return (
        f"Built in: {', '.join(BUILTIN)} (ready: {ready}). Fetch one with: luthier models fetch {next(iter(BUILTIN))}"
    )


def _read_config(location: str, revision: str | None) -> Any:
    try:
        return AutoConfig.from_pretrained(location, revision=revision)
    except (OSError, ValueError) as error:
        offline = (
            os.environ.get("HF_HUB_OFFLINE") == "1"
            or "connect" in str(error).lower()
            or "offline" in str(error).lower()
        )
        why = "the hub cannot be reached and the model is not in the local cache" if offline else _first_line(error)
        raise ModelError(f"The model '{location}' cannot be loaded: {why}. {_known()}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def load_config(source: ModelSource) -> Any:
    """The model's configuration."""
    return _read_config(source.location, source.revision)


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        ModelError: There is none, or it is broken.
    """
    try:
        return AutoTokenizer.from_pretrained(source.location, revision=source.revision)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"The tokenizer of '{source.name}' cannot be loaded: {_first_line(error)}") from error


def generation_eos_ids(source: ModelSource) -> tuple[int, ...]:
    """``eos_token_id`` of the model's generation_config.json, in ascending order; none where it has no such file.

    Raises:
        ModelError: The file is there but cannot be read.
    """
    try:
        config = GenerationConfig.from_pretrained(source.location, revision=source.revision or "main")
    except OSError as error:
        path = Path(source.location) / "generation_config.json"
        if path.is_file():
            raise ModelError(f"{path} cannot be read: {_first_line(error)}") from error
        return ()
    found = config.eos_token_id
    ids = found if isinstance(found, list) else [] if found is None else [found]
    return tuple(sorted({int(i) for i in ids}))


def load_causal_lm(
    source: ModelSource, dtype: torch.dtype, device: torch.device, quantization: Any = None
) -> PreTrainedModel:
    """The weights, in evaluation mode, every parameter frozen.

    Args:
        source: Where the weights are.
        dtype: Of what is not quantised.
        device: Where they go.
        quantization: From `models.quantize.quantization`; None: everything in `dtype`.

    Raises:
        ModelError: Weights are missing, cut short, or the model is no causal language model.
    """
    from safetensors import SafetensorError

    auto: Any = AutoModelForCausalLM  # its annotations do not know `output_loading_info`
    # Quantised layer by layer while they are read, so that the whole model never lies on the device unquantised.
    quantised = {"quantization_config": quantization, "device_map": {"": device}} if quantization is not None else {}
    try:
        with quiet_libraries():
            model, info = auto.from_pretrained(
                source.location, revision=source.revision, dtype=dtype, output_loading_info=True, **quantised
            )
    except (OSError, ValueError, SafetensorError, struct.error, RuntimeError) as error:
        raise ModelError(f"The weights of '{source.name}' cannot be loaded: {_first_line(error)}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{len(missing)} weights of '{source.name}' are missing from its files (e.g. {missing[0]}); "
            "they would be random. The download or the folder is incomplete."
        )
    model.requires_grad_(False)
    if quantised:
        keep_gradients(model)
        return model.eval()
    return model.to(device).eval()
