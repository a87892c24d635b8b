"""What is exported: a run's result with all that its files are made from, and the live model that they are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from luthier.data.template import ChatTemplate
from luthier.export.agreement import Predictions, ProbeRow, compare, predict
from luthier.export.merge import MergePlan, compute
from luthier.export.peft_folder import PeftFolder
from luthier.export.weight_files import WeightFiles
from luthier.models.adapters import grow_embeddings, load_adapter
from luthier.models.contract import InferenceContract
from luthier.models.load import ModelSource, load_causal_lm
from luthier.models.quiet import quiet_libraries
from luthier.reporter import Reporter
from luthier.types import Conversation


@dataclass(frozen=True, eq=False)
class Subject:
    """A run's result.

    Attributes:
        name: Of the run.
        run: Its folder.
        base: Where its base model is loaded from.
        result: The adapter folder, or the fully tuned model's.
        config: Of the base, or of the tuned model.
        weights: Files of the base, or of the tuned model.
        adapters: That go into it; none for a fully tuned model.
        plan: The merge.
        dtype: Of the weights that a merge writes.
        card: Facts for the model card.
        quantization: How the base was stored while it was trained beside; None: in full.
    """

    name: str
    run: Path
    base: ModelSource
    result: Path
    config: Any
    weights: WeightFiles
    adapters: tuple[PeftFolder, ...]
    plan: MergePlan
    dtype: torch.dtype
    tokenizer: Any
    template: ChatTemplate
    contract: InferenceContract
    card: dict[str, Any] = field(default_factory=dict)
    quantization: Any = None

    @property
    def is_full(self) -> bool:
        """Whether all parameters were trained."""
        return not self.adapters

    def load_live(self) -> PreTrainedModel:
        """The model that was trained, in fp32: base with its adapter beside it; of several adapters, what they become together.

        PEFT's own arithmetic is used wherever it has any, so that the comparison is with something that is not ours.
        """
        if self.is_full:
            own = ModelSource(self.name, str(self.result), None)
            return load_causal_lm(own, torch.float32, torch.device("cpu"))
        base = load_causal_lm(self.base, torch.float32, torch.device("cpu"), self.quantization)
        grow_embeddings(base, self.tokenizer)
        if len(self.adapters) > 1:
            return self._combined(base)
        model: Any = load_adapter(base, self.result).eval()
        for parameter in model.parameters():
            if parameter.is_floating_point():  # not the packed numbers of a quantised base
                parameter.data = parameter.data.float()
        return model

    def merge_in_memory(self) -> PreTrainedModel:
        """The model that the plan makes, in fp32, unrounded and without files."""
        return self._apply_plan(load_causal_lm(self.base, torch.float32, torch.device("cpu")))

    def _apply_plan(self, base: PreTrainedModel) -> PreTrainedModel:
        grow_embeddings(base, self.tokenizer)
        state = base.state_dict()
        with torch.no_grad():
            for name, operation in self.plan.operations.items():
                if not operation.is_copy:
                    state[name].copy_(compute(operation, self.weights, self.plan.combination, torch.float32))
        return base

    def _combined(self, base: PreTrainedModel) -> PreTrainedModel:
        combination = self.plan.combination
        assert combination is not None
        if combination.method == "linear" and all(a.kind in ("LoRA", "rsLoRA") for a in self.adapters):
            from peft import PeftModel

            names = [f"adapter{i}" for i in range(len(self.adapters))]
            with quiet_libraries():
                model = PeftModel.from_pretrained(base, str(self.adapters[0].path), adapter_name=names[0])
                for name, adapter in zip(names[1:], self.adapters[1:], strict=True):
                    model.load_adapter(str(adapter.path), adapter_name=name)
                tuner: Any = model
                tuner.add_weighted_adapter(names, list(combination.weights), "combined", combination_type="cat")
                model.set_adapter("combined")
            return model.float().eval()  # type: ignore[return-value]
        return self._apply_plan(base)


class Live:
    """Predictions of the live model on real rows, made once for all exports of a command.

    Args:
        subject: The run's result.
        rows: Token ids of held-out rows.
        conversations: Of the run, for the test of tokens.
        reporter: Told of progress.
        extra_stop: Called between rows, so that an interruption is heard.
    """

    def __init__(
        self,
        subject: Subject,
        rows: Sequence[ProbeRow],
        conversations: Sequence[Conversation],
        reporter: Reporter,
    ) -> None:
        self.subject = subject
        self.rows = tuple(rows)
        self.conversations = tuple(conversations)
        self.reporter = reporter

    @cached_property
    def _both(self) -> tuple[Predictions, float | None]:
        model: Any = self.subject.load_live()
        predictions = predict(model, self.rows, self._counter("live model"))
        if len(self.subject.adapters) != 1:
            return predictions, None
        with model.disable_adapter():
            base = predict(model, self.rows, self._counter("base model"))
        return predictions, compare(predictions, base).kl

    @property
    def predictions(self) -> Predictions:
        """Of the live model."""
        return self._both[0]

    @property
    def training_kl(self) -> float | None:
        """How far the training moved the predictions from the base's; None where there is no one adapter to switch off."""
        return self._both[1]

    def predict_with(self, model: Any, name: str) -> Predictions:
        """Of another model, on the same rows."""
        return predict(model, self.rows, self._counter(name))

    def _counter(self, name: str) -> Callable[[], None]:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            self.reporter.progress(name, done, len(self.rows))

        return advance
