"""Adapters of PEFT's other kinds (LoHa, LoKr, OFT, VeRA, …): PEFT merges them itself, into a model that is whole in memory.

Their arithmetic is not repeated here. What differs from the base afterwards counts as trained whole, so that everything behind
this, plan, writing and checks, is the same as for LoRA.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig

from luthier.errors import ModelError
from luthier.export.changes import Change, NewModule
from luthier.export.peft_folder import OWN_KINDS, PeftFolder, read_peft_folder
from luthier.export.weight_files import WeightFiles
from luthier.models.adapters import grow_embeddings, load_adapter
from luthier.models.load import ModelSource, load_causal_lm


def read_adapter(folder: Path, base: ModelSource, weights: WeightFiles, tokenizer: Any) -> PeftFolder:
    """What an adapter changes, tensor by tensor, or, for kinds that only PEFT can merge, all that it changed.

    Raises:
        ModelError: It is no adapter, or its effect cannot be put into weights.
    """
    path = folder / "adapter_config.json"
    if not path.is_file() or json.loads(path.read_text(encoding="utf-8")).get("peft_type") in OWN_KINDS:
        return read_peft_folder(folder)
    config = PeftConfig.from_pretrained(str(folder))
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if config.is_prompt_learning:
        raise ModelError(
            f"The adapter in {folder} is of PEFT's kind {kind}: it is virtual tokens, not changed weights, so there is "
            "nothing to merge. Export it as it is: --to adapter."
        )
    model = load_causal_lm(base, torch.float32, torch.device("cpu"))
    grow_embeddings(model, tokenizer)
    adapted: Any = load_adapter(model, folder).float()
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise ModelError(f"PEFT cannot merge adapters of its kind {kind}. Export it as it is: --to adapter.")
    try:
        state = adapted.merge_and_unload(safe_merge=True).state_dict()
    except (NotImplementedError, ValueError, AttributeError) as error:
        raise ModelError(
            f"PEFT cannot merge this adapter of its kind {kind}: {str(error).splitlines()[0]} Export it as it is: --to adapter."
        ) from error
    changes: dict[str, tuple[Change, ...]] = {
        name: (NewModule(state[name]),)
        for name in weights.tensors
        if name in state and not torch.equal(state[name], weights.read(name).float())
    }
    return PeftFolder(folder, kind, config.base_model_name_or_path, config.to_dict(), changes)
