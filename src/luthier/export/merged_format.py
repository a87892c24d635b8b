"""`--to merged`: one model in Hugging Face layout that needs neither PEFT nor Luthier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from luthier.errors import InputError
from luthier.export.agreement import compare
from luthier.export.companions import write_companions
from luthier.export.format import Advance, FormatPlan, PlannedFile, Usage, Verified
from luthier.export.merge import apply_merge, merged_config
from luthier.export.subject import Live, Subject
from luthier.export.verify import effect_survives, predictions_agree, stops_as_trained, tokens_equal, weights_as_planned
from luthier.models.load import ModelSource, load_causal_lm, load_tokenizer

_PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class MergedFormat:
    """safetensors with config, tokenizer and generation config."""

    name = "merged"
    title = "one model with the adapter in its weights (safetensors, Hugging Face layout)"
    types: tuple[str, ...] = ("own",)
    default_type = "own"

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """The shards of the merge."""
        if subject.dtype not in _PRECISIONS:
            raise InputError(
                f"{subject.name}'s weights are stored as {subject.dtype}; choose --dtype bf16, fp16 or fp32."
            )
        shards = subject.plan.shards
        files = tuple(PlannedFile(shard.file_name, sum(t.num_bytes for t in shard.tensors)) for shard in shards)
        return FormatPlan(self.name, type, files)

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """Tensor by tensor."""
        apply_merge(subject.plan, subject.weights, folder, advance)
        config = merged_config(subject.config, subject.plan, subject.dtype)
        write_companions(subject.tokenizer, subject.contract, config, folder)

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """Weights against the base's, predictions against the live model's, tokens, stops."""
        checks = weights_as_planned(subject.plan, subject.weights, folder)
        checks.append(stops_as_trained(folder, subject.contract.stop_token_ids))
        if live is None:
            return Verified(checks, {})
        source = ModelSource(folder.name, str(folder), None)
        figures: dict[str, Any] = {}
        sentences: tuple[str, ...] = ()
        if live.rows:
            expected = live.predictions
            model = load_causal_lm(source, torch.float32, torch.device("cpu"))
            agreement = compare(expected, live.predict_with(model, "merged model"))
            del model
            precision = _PRECISIONS[subject.dtype]
            checks += predictions_agree(agreement, precision, f"The merged model ({precision})")
            if live.training_kl is not None:
                checks.append(effect_survives(agreement, live.training_kl, "the merged model"))
                figures["training_kl"] = live.training_kl
            figures["agreement"] = agreement.to_json()
            sentences = (f"merged ({precision}) against the live model: {agreement.sentence()}",)
        if live.conversations:
            tokenizer = load_tokenizer(source)
            checks.append(
                tokens_equal(subject.template, tokenizer, live.conversations, "export.tokens", "The exported tokenizer")
            )
        return Verified(checks, figures, sentences)

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """As transformers loads it."""
        code = (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            f'model = AutoModelForCausalLM.from_pretrained("{folder}")\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
        )
        return Usage(f"vllm serve {folder}", "serve it", code)
