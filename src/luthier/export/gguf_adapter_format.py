"""`--to gguf-adapter`: LoRA alone for llama.cpp, to be loaded beside a GGUF of the base model."""

from __future__ import annotations

from pathlib import Path

from luthier.errors import InputError
from luthier.export.format import Advance, FormatPlan, PlannedFile, Usage, Verified
from luthier.export.gguf.lora import largest_difference, plan_lora, write_lora
from luthier.export.subject import Live, Subject
from luthier.types import Check

LIMIT = 1e-5
"""Of the updates, relative: fp32 products in another order."""


class GgufAdapterFormat:
    """A GGUF adapter."""

    name = "gguf-adapter"
    title = "LoRA alone for llama.cpp, beside a GGUF of its base"
    types: tuple[str, ...] = ("own",)
    default_type = "own"

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """One small file."""
        if len(subject.adapters) != 1:
            raise InputError(
                f"A GGUF adapter is made of one adapter; {subject.name} gives {len(subject.adapters)}: --to gguf."
            )
        if subject.plan.vocab_rows > subject.weights.tensors[subject.plan.embedding].shape[0]:
            raise InputError("The adapter adds tokens, which a GGUF adapter cannot carry: --to gguf.")
        details = plan_lora(subject.adapters[0], subject.config)
        file = PlannedFile(f"{subject.name}-lora.gguf", details.num_bytes)
        return FormatPlan(self.name, type, (file,), details=details)

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """The file, and the contract beside it."""
        write_lora(plan.details, folder / plan.files[0].name, name=subject.name, config=subject.config)
        subject.contract.save(folder)
        advance(plan.files[0].num_bytes)

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """The updates, computed from the file as llama.cpp does."""
        worst = largest_difference(plan.details, folder / plan.files[0].name, subject.config)
        check = Check(
            name="export.updates",
            claim=f"The {len(plan.details.pairs)} updates of the file equal the adapter's (relative to each one's largest).",
            measured=float(f"{worst:.2g}"),
            limit=LIMIT,
            unit="",
            passed=worst <= LIMIT,
            advice="llama.cpp would apply another adapter. Please report this with adapter_config.json.",
        )
        return Verified([check], {"largest_difference": worst})

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """llama.cpp's way."""
        return Usage(
            f"llama-server -m BASE.gguf --lora {folder / plan.files[0].name} --jinja", "serve it beside its base"
        )
