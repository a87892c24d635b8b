"""`--to bnb-nf4`, `--to bnb-int8`: the merged model quantised by bitsandbytes, for transformers and vLLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from luthier.errors import MissingExtraError
from luthier.export.agreement import compare
from luthier.export.companions import generation_config, write_tokenizer
from luthier.export.format import Advance, FormatPlan, PlannedFile, Usage, Verified
from luthier.export.merge import apply_merge, merged_config
from luthier.export.subject import Live, Subject
from luthier.export.verify import predictions_agree, stops_as_trained, tokens_equal
from luthier.models.load import ModelSource, load_tokenizer
from luthier.models.quiet import quiet_libraries


class BnbFormat:
    """Weights in 4 or 8 bits, in Hugging Face layout.

    Args:
        kind: nf4 or int8.
    """

    types: tuple[str, ...] = ("own",)
    default_type = "own"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = f"bnb-{kind}"
        self.title = (
            f"the merged model in {'4' if kind == 'nf4' else '8'} bits (bitsandbytes), for transformers and vLLM"
        )

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """About a quarter or half of the merged model, which is written aside first."""
        if importlib.util.find_spec("bitsandbytes") is None:
            raise MissingExtraError("bitsandbytes", "qlora", f"Exporting to {self.name}")
        # Twice for a moment: what bitsandbytes quantises is read from a merged folder.
        merged = PlannedFile("model.safetensors (the merged one, for a moment)", subject.plan.num_bytes)
        share = 0.35 if self.kind == "nf4" else 0.6
        quantised = PlannedFile("model.safetensors", int(share * subject.plan.num_bytes))
        return FormatPlan(self.name, type, (quantised, merged))

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """Merge into a folder of its own, quantise while loading it, save."""
        with TemporaryDirectory(dir=folder, prefix=".merged-") as name:
            merged = Path(name)
            apply_merge(subject.plan, subject.weights, merged, advance)
            merged_config(subject.config, subject.plan, subject.dtype).save_pretrained(merged)
            model = self._load(merged, BitsAndBytesConfig(**self._settings(subject)))
            with quiet_libraries():
                model.save_pretrained(str(folder))
            del model
        generation_config(subject.contract).save_pretrained(folder)
        write_tokenizer(subject.tokenizer, subject.contract, folder)
        subject.contract.save(folder)

    def _settings(self, subject: Subject) -> dict[str, Any]:
        if self.kind == "int8":
            return {"load_in_8bit": True}
        return {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": subject.dtype,
        }

    def _load(self, folder: Path, settings: BitsAndBytesConfig | None) -> Any:
        auto: Any = AutoModelForCausalLM
        options = {} if settings is None else {"quantization_config": settings}
        with quiet_libraries():
            return auto.from_pretrained(folder, dtype="auto", device_map={"": "cpu"}, **options).eval()

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """Loaded as others do: predictions, tokens, stops."""
        checks = [stops_as_trained(folder, subject.contract.stop_token_ids)]
        figures: dict[str, Any] = {}
        sentences: tuple[str, ...] = ()
        if live is not None and live.rows:
            expected = live.predictions
            model = self._load(folder, None)
            agreement = compare(expected, live.predict_with(model, self.kind))
            del model
            checks += predictions_agree(agreement, self.kind, f"The {self.kind} model")
            figures["agreement"] = agreement.to_json()
            sentences = (f"{self.name} against the live model: {agreement.sentence()}",)
        if live is not None and live.conversations:
            tokenizer = load_tokenizer(ModelSource(folder.name, str(folder), None))
            checks.append(
                tokens_equal(subject.template, tokenizer, live.conversations, "export.tokens", "The exported tokenizer")
            )
        return Verified(checks, figures, sentences)

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """As transformers loads it."""
        code = (
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            f'model = AutoModelForCausalLM.from_pretrained("{folder}")  # needs bitsandbytes\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{folder}")'
        )
        return Usage(f"vllm serve {folder}", "serve it", code)
