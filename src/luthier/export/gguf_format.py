"""`--to gguf`: one file for llama.cpp, Ollama, LM Studio, from full precision to 4 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from luthier.data.tokenizer_check import special_id
from luthier.export.agreement import compare
from luthier.export.companions import full_template
from luthier.export.format import Advance, FormatPlan, PlannedFile, Usage, Verified
from luthier.export.gguf import architecture
from luthier.export.gguf.read import metadata_differences, read_model, read_stops, read_tokenizer
from luthier.export.gguf.tensor_types import TYPES
from luthier.export.gguf.write import GgufPlan, plan_gguf, write_gguf
from luthier.export.merge import merged_config
from luthier.export.subject import Live, Subject
from luthier.export.verify import effect_survives, predictions_agree, tokens_equal
from luthier.types import Check

PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "bf16"}
"""Limits are kept by the names of number formats; quantised types have their own."""


class GgufFormat:
    """A GGUF file with weights, vocabulary, template and stop tokens."""

    name = "gguf"
    title = "one file for llama.cpp, Ollama, LM Studio"
    types: tuple[str, ...] = tuple(TYPES)
    default_type = "q8_0"

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """Names and types of all tensors; refuses what llama.cpp would read otherwise."""
        eos = special_id(subject.tokenizer, "eos_token")
        plan = plan_gguf(subject.plan, subject.config, subject.tokenizer, subject.contract.stop_token_ids, eos, type)
        notes = architecture.notes(subject.config)
        if plan.fallbacks:
            notes.append(
                f"{plan.fallbacks} of {len(plan.tensors)} tensors have rows whose width the blocks of {type} do not divide; they "
                "take the next larger type, as in llama.cpp, and the file is larger than the type's name promises."
            )
        file = PlannedFile(f"{subject.name}-{type}.gguf", plan.num_bytes)
        return FormatPlan(self.name, type, (file,), tuple(notes), plan)

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """The file, and the contract beside it."""
        details: GgufPlan = plan.details
        write_gguf(
            details,
            folder / plan.files[0].name,
            name=subject.name,
            licence=subject.card.get("licence"),
            merge=subject.plan,
            weights=subject.weights,
            config=subject.config,
            template=subject.template,
            contract=subject.contract,
            chat_template=full_template(subject.tokenizer, subject.contract),
            on_tensor=advance,
        )
        subject.contract.save(folder)

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """Metadata, stops, and, read back by transformers: predictions and tokens."""
        path = folder / plan.files[0].name
        checks = [_metadata(path, subject.config), _stops(path, subject.contract.stop_token_ids)]
        figures: dict[str, Any] = {"num_bytes": path.stat().st_size}
        sentences: tuple[str, ...] = ()
        if live is not None and live.rows:
            expected = live.predictions
            model = read_model(path, merged_config(subject.config, subject.plan, subject.dtype))
            agreement = compare(expected, live.predict_with(model, plan.type))
            del model
            precision = PRECISIONS.get(plan.type, plan.type)
            checks += predictions_agree(agreement, precision, f"The {plan.type} file")
            if live.training_kl is not None and plan.type in PRECISIONS:
                checks.append(effect_survives(agreement, live.training_kl, f"the {plan.type} file"))
            figures["agreement"] = agreement.to_json()
            sentences = (
                f"gguf {plan.type} against the live model: {agreement.sentence()}",
                *_warning(agreement.kl, live),
            )
        if live is not None and live.conversations:
            tokenizer = read_tokenizer(path)
            checks.append(
                tokens_equal(subject.template, tokenizer, live.conversations, "export.tokens", "The file's tokenizer")
            )
        return Verified(checks, figures, sentences)

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """llama.cpp's way."""
        return Usage(f"llama-server -m {folder / plan.files[0].name} --jinja", "serve it with llama.cpp")


def _warning(kl: float, live: Live) -> tuple[str, ...]:
    """Quantising that moves a model further than its training did is worth a word."""
    if live.training_kl is None or kl <= live.training_kl / 2:
        return ()
    return (
        f"The quantisation moves the predictions by KL {kl:.2g}, the training moved them by {live.training_kl:.2g}: what was "
        "learnt may be lost in it. Take a larger type.",
    )


def _metadata(path: Path, config: Any) -> Check:
    wrong = metadata_differences(path, config)
    return Check(
        name="export.metadata",
        claim="The file describes the network that was trained.",
        measured="equal" if not wrong else "; ".join(wrong),
        limit="equal",
        unit="",
        passed=not wrong,
        advice="llama.cpp would build another network. Please report this with the model's config.json.",
    )


def _stops(path: Path, stop_ids: tuple[int, ...]) -> Check:
    found = read_stops(path)
    return Check(
        name="export.stops",
        claim="The file ends answers at the tokens that the model learnt to end them with.",
        measured=", ".join(map(str, found)) or "none",
        limit=", ".join(map(str, stop_ids)),
        unit="",
        passed=found == tuple(stop_ids),
        advice="Answers would not end. Please report this with the run's contract.json.",
    )
