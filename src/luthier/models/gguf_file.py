"""A model out of a single GGUF file, as llama.cpp and others write it: weights (de-quantised) and tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from luthier.errors import ModelError
from luthier.models.quiet import quiet_libraries

_MAGIC = b"GGUF"


def require_gguf(path: Path) -> None:
    """See that a file is one; nothing is loaded.

    Raises:
        ModelError: It is not there, or something else.
    """
    try:
        with path.open("rb") as file:
            begins = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"The GGUF file {path} cannot be read: {error.strerror}.") from error
    if begins != _MAGIC:
        raise ModelError(
            f"{path} does not begin as a GGUF file does ({begins!r}); the file is something else, or damaged."
        )


def load_gguf(path: Path, dtype: torch.dtype, device: torch.device) -> tuple[PreTrainedModel, Any]:
    """The model, in evaluation mode and frozen, and its tokenizer.

    The weights are what the file's numbers stand for, in `dtype`: what is measured is the loss by quantisation, not the speed.

    Raises:
        ModelError: The file cannot be read as a causal language model that is known.
    """
    require_gguf(path)
    auto: Any = AutoModelForCausalLM  # its annotations know neither the file nor its config
    try:
        with quiet_libraries():
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            model: Any = auto.from_pretrained(
                path.parent, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, NotImplementedError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} cannot be loaded as a model: {first}") from error
    model.requires_grad_(False)
    return model.to(device=device, dtype=dtype).eval(), tokenizer
