"""Contenders beside base and tuned model, ready to answer: other runs, checkpoints, files, models behind endpoints.

An adapter on the run's own base is put beside the run's adapter: then one model in memory answers for all, in one batch. Anything
else is a model of its own, and answers in its own template.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file

from luthier.data.template import ChatTemplate
from luthier.errors import ModelError, RunError
from luthier.evaluation.answer_cache import AnswerCache, CachedEngine
from luthier.evaluation.asked import SilenceCounts
from luthier.evaluation.contenders import Contender
from luthier.evaluation.likelihood import Continuation, LikelihoodModel
from luthier.evaluation.likelihood_cache import CachedLikelihoods, LikelihoodCache
from luthier.evaluation.protocol import Likelihood
from luthier.generate.adapter_mix import can_mix
from luthier.generate.batched import BatchedEngine
from luthier.generate.endpoint import Endpoint
from luthier.generate.journal import Journal, Journalled
from luthier.models.contract import FILE_NAME as CONTRACT_FILE
from luthier.models.contract import InferenceContract
from luthier.models.find_adapter import refuse_other_base
from luthier.models.fingerprint import fingerprint
from luthier.models.gguf_file import load_gguf
from luthier.models.load import find_model, generation_eos_ids, load_causal_lm, load_tokenizer
from luthier.models.quiet import quiet_libraries
from luthier.reporter import Reporter
from luthier.training.checkpoint import Saved
from luthier.workflows.find_rival import Rival
from luthier.workflows.load_run import LoadedRun, load_run, open_run

JOURNAL_FILE = "evaluation/cache/endpoint.jsonl"


@dataclass(frozen=True)
class EndpointTerms:
    """How endpoints are asked.

    Attributes:
        key_variable: Environment variable with the key; one that is not set sends none.
        per_minute: Questions at most.
        timeout_seconds: For one attempt.
        parallel: Questions at once.
        price_in: Of a million tokens of questions; None where it is not known.
        price_out: Of answers.
    """

    key_variable: str = "OPENAI_API_KEY"
    per_minute: float | None = None
    timeout_seconds: float = 120.0
    parallel: int = 4
    price_in: float | None = None
    price_out: float | None = None


@dataclass
class Caches:
    """What is known already, in the run folder."""

    answers: AnswerCache
    likelihoods: LikelihoodCache
    journal: Journal


@dataclass
class _Voice:
    """A rival in memory: a whole model, or an adapter beside the run's."""

    contract: InferenceContract
    template: ChatTemplate
    engine: CachedEngine
    likelihoods: CachedLikelihoods
    adapter: str | None = None


@dataclass
class Rivals:
    """The rivals of an evaluation; local ones are loaded, endpoints are not asked yet.

    Attributes:
        tuned: Engine of the run's own adapter, which answers for adapters beside it too; None where there are none.
        asking: Endpoints by name.
    """

    tuned: CachedEngine | None = None
    asking: dict[str, Journalled] = field(default_factory=dict)
    _voices: dict[str, _Voice] = field(default_factory=dict)

    def contenders(self) -> list[Contender]:
        """In the order in which they were named: models here, then endpoints."""
        here = [
            Contender(
                name,
                voice.engine,
                use_adapter=True,
                likelihood=voice.likelihoods,
                adapter=voice.adapter,
                contract=voice.contract,
                template=voice.template,
            )
            for name, voice in self._voices.items()
        ]
        return [*here, *(Contender(name, None, use_adapter=False, chat=chat) for name, chat in self.asking.items())]

    def stop(self) -> None:
        """Ask nobody any more."""
        for chat in self.asking.values():
            chat.stop()


def load_rivals(
    rivals: Sequence[Rival], loaded: LoadedRun, caches: Caches, terms: EndpointTerms, reporter: Reporter
) -> Rivals:
    """Load what is here, and open what is elsewhere.

    Raises:
        RunError, ModelError: One cannot be loaded.
    """
    ready = Rivals()
    beside: dict[str, str] = {}
    _ = loaded.fingerprint(use_adapter=True)  # while its own adapter is the only one
    for number, rival in enumerate(rivals):
        if rival.kind == "endpoint":
            ready.asking[rival.name] = _endpoint(rival, terms, caches.journal)
            continue
        reporter.stage(f"Load {rival.typed}")
        adapter = f"rival_{number}"
        source = _adapter_beside(rival, loaded)
        if source is None:
            ready._voices[rival.name] = _own_model(rival, loaded, caches, reporter)
            continue
        if ready.tuned is None:
            ready.tuned = CachedEngine(loaded.engine(), caches.answers, _of_run(loaded), beside)
        beside[adapter] = _put_beside(source, adapter, rival.saved, rival.path, loaded)
        ready._voices[rival.name] = _beside_voice(source, adapter, beside[adapter], ready.tuned, loaded, caches)
    return ready


def _endpoint(rival: Rival, terms: EndpointTerms, journal: Journal) -> Journalled:
    endpoint = Endpoint(
        rival.url,
        rival.model,
        key=os.environ.get(terms.key_variable) or None,
        timeout_seconds=terms.timeout_seconds,
        per_minute=terms.per_minute,
        parallel=terms.parallel,
    )
    return Journalled(SilenceCounts(endpoint, rival.identity), journal)


def _of_run(loaded: LoadedRun) -> Callable[[bool], str]:
    return lambda use_adapter: loaded.fingerprint(use_adapter=use_adapter)


def _adapter_beside(rival: Rival, loaded: LoadedRun) -> Path | None:
    """The folder of an adapter that can be put beside the run's own; None where it needs a model of its own.

    Raises:
        ModelError: It is an adapter alone, and not one for this base.
    """
    if rival.kind == "adapter":
        assert rival.path is not None
        refuse_other_base(rival.path, loaded.recipe.model.name, f"--with {rival.typed}")
        if not _fits_beside(rival.path, loaded):
            raise ModelError(
                f"--with {rival.typed}: this adapter cannot be put beside that of {loaded.folder.name}: both must be plain LoRA. "
                "Merge it into a model folder, and name that."
            )
        return rival.path
    if rival.kind not in ("run", "checkpoint") or rival.path is None:
        return None
    _, recipe = open_run(rival.path)
    same = (recipe.model, recipe.precision) == (loaded.recipe.model, loaded.recipe.precision)
    folder = rival.path / "adapter"
    if not same or recipe.is_full or not folder.is_dir() or not _fits_beside(folder, loaded):
        return None
    is_alike = InferenceContract.load(folder).tokenizer_fingerprint == loaded.contract.tokenizer_fingerprint
    return folder if is_alike else None


def _fits_beside(folder: Path, loaded: LoadedRun) -> bool:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    extras = ("trainable_token_indices", "modules_to_save", "use_dora", "lora_bias", "target_parameters")
    return can_mix(loaded.model) and config.get("peft_type") == "LORA" and not any(config.get(name) for name in extras)


def _put_beside(folder: Path, adapter: str, saved: Saved | None, run: Path | None, loaded: LoadedRun) -> str:
    """Load an adapter into the run's model; its fingerprint, with the base."""
    model: Any = loaded.model
    try:
        with quiet_libraries():
            model.load_adapter(str(folder), adapter_name=adapter, autocast_adapter_dtype=False)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"The adapter in {folder} does not fit the model: {str(error).splitlines()[0]}") from error
    if saved is not None:
        assert run is not None
        take_checkpoint(model, run, saved, adapter)
    model.eval()
    own = {name: tensor for name, tensor in model.state_dict().items() if f".{adapter}." in name}
    plain = {name.replace(f".{adapter}.", ".default."): tensor for name, tensor in own.items()}
    return f"{loaded.fingerprint(use_adapter=False)}+{fingerprint(plain)}"


@torch.no_grad()
def take_checkpoint(model: torch.nn.Module, run: Path, saved: Saved, adapter: str = "default") -> None:
    """Give a model the trained weights of a checkpoint of its run.

    Raises:
        RunError: The checkpoint is damaged, or holds other weights than the result.
    """
    path = run / "checkpoints" / saved.folder / "state.safetensors"
    try:
        tensors = load_file(path)
    except Exception as error:
        raise RunError(f"The checkpoint {path.parent} cannot be read: {error}") from error
    masters = {name.removeprefix("master/"): t for name, t in tensors.items() if name.startswith("master/")}
    parameters = dict(model.named_parameters())
    for name, tensor in masters.items():
        target = parameters.get(name.replace(".default.", f".{adapter}."))
        if target is None or target.shape != tensor.shape:
            raise RunError(
                f"The checkpoint {path.parent} holds '{name}', which the result of {run.name} does not: its adapter was saved in "
                "another form than it was trained in, so this checkpoint cannot be asked. Name the run without @."
            )
        target.copy_(tensor.to(target.dtype))


def _beside_voice(
    folder: Path, adapter: str, weights: str, engine: CachedEngine, loaded: LoadedRun, caches: Caches
) -> _Voice:
    contract, template = loaded.contract, loaded.template
    if (folder / CONTRACT_FILE).is_file():
        contract = InferenceContract.load(folder)
        template = contract.chat_template(loaded.tokenizer)
    measured = OneAdapter(loaded.model, loaded.likelihood(), adapter)
    return _Voice(
        contract, template, engine, CachedLikelihoods(measured, caches.likelihoods, lambda _: weights), adapter
    )


def _own_model(rival: Rival, loaded: LoadedRun, caches: Caches, reporter: Reporter) -> _Voice:
    placement = loaded.placement
    model: Any
    if rival.kind in ("run", "checkpoint"):
        assert rival.path is not None
        run = load_run(rival.path, reporter=reporter)
        model, contract, template = run.model, run.contract, run.template
        if rival.saved is not None:
            take_checkpoint(model, rival.path, rival.saved)
    elif rival.kind == "gguf":
        assert rival.path is not None
        model, tokenizer = load_gguf(rival.path, placement.dtype, placement.device)
        found = model.generation_config.eos_token_id
        eos = found if isinstance(found, list) else [] if found is None else [found]
        contract, template = _contract(tokenizer, rival.typed, eos)
    else:
        source = find_model(rival.model, None, reporter)
        folder = Path(source.location)
        model, tokenizer = load_causal_lm(source, placement.dtype, placement.device), load_tokenizer(source)
        if (folder / CONTRACT_FILE).is_file():
            contract = InferenceContract.load(folder)
            template = contract.chat_template(tokenizer)
        else:
            contract, template = _contract(tokenizer, rival.model, generation_eos_ids(source))
    weights = fingerprint(model.state_dict())
    batch = loaded.recipe.evaluate.batch_size
    measured = LikelihoodModel(model, attention=loaded.recipe.model.attention)
    return _Voice(
        contract,
        template,
        CachedEngine(BatchedEngine(model, batch_size=batch), caches.answers, lambda _: weights),
        CachedLikelihoods(measured, caches.likelihoods, lambda _: weights),
    )


def _contract(tokenizer: Any, name: str, eos: Sequence[int]) -> tuple[InferenceContract, ChatTemplate]:
    template = ChatTemplate.from_tokenizer(tokenizer)
    contract = InferenceContract.from_template(template, base_model=name, generation_eos_ids=eos)
    template.stop_ids = contract.stop_ids
    return contract, template


class OneAdapter:
    """Measures with one of several adapters of a model; afterwards the active one is active again."""

    def __init__(self, model: Any, likelihoods: LikelihoodModel, adapter: str) -> None:
        self._model, self._likelihoods, self._adapter = model, likelihoods, adapter

    def measure(
        self,
        continuations: Sequence[Continuation],
        *,
        use_adapter: bool = True,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        """Log p of each text."""
        with _active(self._model, self._adapter):
            return self._likelihoods.measure(continuations, use_adapter=use_adapter, on_progress=on_progress)


@contextmanager
def _active(model: PeftModel, adapter: str) -> Any:
    trainable = {parameter: parameter.requires_grad for parameter in model.parameters()}
    before: Any = model.active_adapter
    model.set_adapter(adapter)
    try:
        yield
    finally:
        model.set_adapter(before)
        for parameter, flag in trainable.items():  # PEFT marks what it activates as trainable
            parameter.requires_grad_(flag)
