"""A finished run as an object: its model in memory, ready to answer as it was trained to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from luthier.config.load import load_recipe, resolve
from luthier.config.recipe import Recipe
from luthier.data.template import ChatTemplate
from luthier.errors import RunError
from luthier.evaluation.likelihood import LikelihoodModel
from luthier.generate.batched import BatchedEngine
from luthier.generate.requests import build_request
from luthier.models.adapters import grow_embeddings, load_adapter, without_adapter
from luthier.models.contract import InferenceContract
from luthier.models.fingerprint import fingerprint
from luthier.models.load import ModelSource, find_model, load_causal_lm, load_tokenizer
from luthier.models.placement import Placement, place
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.types import Message
from luthier.workflows.parametrise import load_base


@dataclass(frozen=True)
class LoadedRun:
    """A run's result, with its base model.

    Attributes:
        folder: The run folder.
        model: Base with adapter, or the fully tuned model.
        base_source: Where the base model is loaded from.
    """

    folder: RunFolder
    manifest: Manifest
    recipe: Recipe
    model: torch.nn.Module
    tokenizer: Any
    template: ChatTemplate
    contract: InferenceContract
    placement: Placement
    base_source: ModelSource

    def engine(self, batch_size: int | None = None) -> BatchedEngine:
        """Answers with the tuned model; for adapters, `Request.use_adapter=False` answers with the base."""
        return self._engine_on(self.model, batch_size)

    def base_engine(self, batch_size: int | None = None) -> BatchedEngine:
        """Answers with the base model: the same model with its adapter off, or the base loaded beside a full fine-tune."""
        return self._engine_on(self.model if not self.recipe.is_full else self._base_model, batch_size)

    @cached_property
    def _base_model(self) -> torch.nn.Module:
        return load_causal_lm(self.base_source, self.placement.dtype, self.placement.device)

    def likelihood(self) -> LikelihoodModel:
        """Measures texts with the tuned model; for adapters, `use_adapter=False` measures with the base."""
        return LikelihoodModel(self.model, attention=self.recipe.model.attention)

    def base_likelihood(self) -> LikelihoodModel:
        """Measures texts with the base model."""
        model = self.model if not self.recipe.is_full else self._base_model
        return LikelihoodModel(model, attention=self.recipe.model.attention)

    def fingerprint(self, *, use_adapter: bool) -> str:
        """Of the weights that answer: all of the tuned model, or the base model alone."""
        return self._tuned_fingerprint if use_adapter else self._base_fingerprint

    @cached_property
    def _tuned_fingerprint(self) -> str:
        return fingerprint(self.model.state_dict())

    @cached_property
    def _base_fingerprint(self) -> str:
        if self.recipe.is_full:
            return fingerprint(self._base_model.state_dict())
        return fingerprint(without_adapter(self.model))

    def _engine_on(self, model: Any, batch_size: int | None) -> BatchedEngine:
        return BatchedEngine(model, batch_size=batch_size or self.recipe.evaluate.batch_size)

    def ask(self, prompt: str, *, use_adapter: bool = True, max_new_tokens: int | None = None) -> str:
        """Answer one user message, as text."""
        asked = build_request(
            self.contract,
            self.template,
            (Message("user", prompt),),
            max_new_tokens=max_new_tokens,
            use_adapter=use_adapter,
        )
        engine = self.engine() if use_adapter else self.base_engine()
        (answer,) = engine.generate([asked])
        return self.template.decode(answer.token_ids)


def open_run(run: str | Path) -> tuple[RunFolder, Recipe]:
    """The folder and the recipe of a run; nothing is loaded.

    Args:
        run: Path of the run folder, or a name under ``runs/``.

    Raises:
        RunError: There is no such run.
    """
    path = Path(run)
    if not path.exists() and len(path.parts) == 1:
        path = Path("runs") / path
    folder = RunFolder.open(path)
    return folder, resolve(load_recipe(folder / "recipe.resolved.yaml"))


def load_run(run: str | Path, *, device: str | None = None, reporter: Reporter | None = None) -> LoadedRun:
    """Open a finished run.

    Args:
        run: Path of the run folder, or a name under ``runs/``.
        device: Where to put the model; None for the recipe's choice.
        reporter: Told if the base model must be fetched.

    Raises:
        RunError: There is no such run, or it has no result yet.
        ModelError: Its base model is out of reach, or the tokenizer is not the one it was trained with.
    """
    folder, recipe = open_run(run)
    manifest = Manifest.load(folder)
    result = folder / ("model" if recipe.is_full else "adapter")
    if not result.is_dir():
        raise RunError(
            f"{folder.name} has no result yet (status: {manifest.status}). "
            f"Continue it with: luthier train --resume {folder.typed}"
        )
    placement = place(device or recipe.train.device, recipe.precision.compute)
    source = find_model(recipe.model.name, recipe.model.revision, reporter)
    tokenizer = load_tokenizer(ModelSource(result.name, str(result), None))
    contract = InferenceContract.load(result)
    template = contract.chat_template(tokenizer)
    if recipe.is_full:
        own = ModelSource(folder.name, str(result), None)
        model: torch.nn.Module = load_causal_lm(own, placement.dtype, placement.device)
    else:
        base = load_base(recipe, source, placement)
        grow_embeddings(
            base, tokenizer
        )  # for tokens that the chat template added; their trained rows are in the adapter
        model = load_adapter(base, result).eval()
    return LoadedRun(folder, manifest, recipe, model, tokenizer, template, contract, placement, source)
