"""`--to adapter`: the PEFT folder with tokenizer and contract, for PEFT, vLLM and all that load LoRA beside a base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from luthier.errors import InputError
from luthier.export.companions import generation_config, write_tokenizer
from luthier.export.format import Advance, FormatPlan, PlannedFile, Usage, Verified
from luthier.export.record import hash_file
from luthier.export.subject import Live, Subject
from luthier.export.verify import stops_as_trained, tokens_equal
from luthier.models.load import ModelSource, load_tokenizer
from luthier.types import Check

_FILES = ("adapter_config.json", "adapter_model.safetensors")


class AdapterFormat:
    """PEFT layout."""

    name = "adapter"
    title = "the adapter alone (PEFT layout), to be loaded beside its base model"
    types: tuple[str, ...] = ("own",)
    default_type = "own"

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """Two files; the tokenizer comes with them."""
        if subject.is_full:
            raise InputError(
                f"{subject.name} trained all parameters, so there is no adapter. Export it with --to merged."
            )
        if len(subject.adapters) > 1:
            raise InputError("Several adapters become one model, not one adapter: --to merged.")
        files = [PlannedFile(name, (subject.result / name).stat().st_size) for name in _FILES]
        return FormatPlan(self.name, type, tuple(files))

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """The adapter byte by byte; the rest is written anew from the contract."""
        for file in plan.files:
            shutil.copyfile(subject.result / file.name, folder / file.name)
            advance(file.num_bytes)
        generation_config(subject.contract).save_pretrained(folder)
        write_tokenizer(subject.tokenizer, subject.contract, folder)
        subject.contract.save(folder)

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """Equal files, the base by its name, tokens, stops."""
        wrong = [f.name for f in plan.files if hash_file(subject.result / f.name) != hash_file(folder / f.name)]
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("base_model_name_or_path")
        checks = [
            Check(
                name="export.adapter",
                claim="The adapter's files equal the run's, byte by byte.",
                measured="equal" if not wrong else f"{wrong[0]} differs",
                limit="equal",
                unit="",
                passed=not wrong,
                advice="The disk lost something, or the run changed meanwhile. Export again.",
            ),
            Check(
                name="export.base",
                claim="The adapter names the base model that it was trained on.",
                measured=str(base),
                limit=subject.contract.base_model,
                unit="",
                passed=base == subject.contract.base_model,
                advice="Programs would load another base. Set base_model_name_or_path in adapter_config.json.",
            ),
            stops_as_trained(folder, subject.contract.stop_token_ids),
        ]
        if live is not None and live.conversations:
            tokenizer = load_tokenizer(ModelSource(folder.name, str(folder), None))
            checks.append(
                tokens_equal(subject.template, tokenizer, live.conversations, "export.tokens", "The exported tokenizer")
            )
        return Verified(checks, {})

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """As PEFT loads it."""
        code = (
            "from peft import AutoPeftModelForCausalLM\n"
            f'model = AutoPeftModelForCausalLM.from_pretrained("{folder}")  # loads {subject.base.name} too'
        )
        return Usage(
            f"vllm serve {subject.base.location} --enable-lora --lora-modules {subject.name}={folder}", "serve", code
        )
