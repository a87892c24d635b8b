"""What a server serves: one model in memory with the adapters of runs on it, and the runs whose adapters may join later.

All adapters sit on one base, stored the same way; a run of another base, another number format or other tokens is refused, with
what differs. A fully tuned run, or a merged model, is served alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from luthier.config.recipe import Recipe
from luthier.data.template import ChatTemplate
from luthier.errors import InputError, ModelError, RunError
from luthier.models.contract import FILE_NAME, InferenceContract
from luthier.models.load import ModelSource, find_model, generation_eos_ids, load_causal_lm, load_tokenizer
from luthier.models.placement import Placement, place
from luthier.reporter import Reporter
from luthier.runs.find import find_run
from luthier.serve.adapter_swap import add_adapter, remove_adapter
from luthier.serve.refusal import RefusedError
from luthier.serve.served import ServedModel
from luthier.workflows.load_run import load_run, open_run

BASE_NAME = "base"
"""What clients call the model under the adapters."""
_ALONE = "Serve it by a server of its own."


@dataclass(frozen=True)
class Foundation:
    """What adapters sit on; None in place of the recipe: the plain model.

    Attributes:
        source: Where its weights came from.
        stored: How they are stored: number format of the base, and whether its scales are quantised too.
        tokenizer_fingerprint: Of the tokens that it knows.
    """

    source: ModelSource
    placement: Placement
    stored: tuple[str, bool]
    tokenizer_fingerprint: str


class RunAdapters:
    """Runs of one folder whose adapters can be put on the model while it serves (`serve.app.Adapters`).

    A name is looked up among those that the folder has: nothing of a request becomes a path.

    Args:
        runs_folder: Where they are.
        foundation: What they must have been trained on; None where nothing can be put on the model.
    """

    def __init__(self, runs_folder: Path, foundation: Foundation | None) -> None:
        self._runs_folder, self._foundation = runs_folder, foundation
        self._numbers = itertools.count(1)

    def names(self) -> list[str]:
        """Runs that have an adapter."""
        return sorted(self._folders())

    def _folders(self) -> dict[str, Path]:
        found = (path.parent for path in self._runs_folder.glob("*/run.json"))
        return {path.name: path for path in found if (path / "adapter" / "adapter_config.json").is_file()}

    def open(self, name: str) -> tuple[ServedModel, Callable[[Any], Any]]:
        """A run by its name.

        Raises:
            RefusedError: There is none (404).
            InputError: It does not fit the model that is served.
        """
        folder = self._folders().get(name)
        if folder is None:
            raise RefusedError(
                404, f"There is no run '{name[:100]}' with an adapter in the server's folder of runs.", param="run"
            )
        return self.open_folder(folder)

    def open_folder(self, path: Path) -> tuple[ServedModel, Callable[[Any], Any]]:
        """A run that the command line names.

        Raises:
            InputError: It does not fit the model that is served.
        """
        foundation = self._foundation
        if foundation is None:
            raise InputError("The model that is served was tuned as a whole; no adapter belongs on it.")
        folder, recipe = open_run(path)
        adapter = folder / "adapter"
        if recipe.is_full or not adapter.is_dir():
            raise RunError(
                f"{folder.name} has no adapter: it was tuned as a whole, or is not finished. Serve it alone."
            )
        if not (adapter / "adapter_model.safetensors").is_file():
            raise ModelError(f"{folder.name}: its adapter is not stored as safetensors; nothing else is loaded.")
        contract = InferenceContract.load(adapter)
        _refuse_other_base(folder.name, recipe, contract, foundation)
        template = contract.chat_template(load_tokenizer(ModelSource("adapter", str(adapter), None)))
        # Never a name for the second time: slots remember which adapter their entries were computed with.
        name = f"adapter{next(self._numbers)}"
        model = ServedModel(folder.name, "adapter", contract, template, name)
        return model, partial(add_adapter, folder=adapter, name=name)

    def remover(self, model: ServedModel) -> Callable[[Any], Any]:
        """What takes an adapter off."""
        assert model.adapter is not None
        return partial(remove_adapter, name=model.adapter)


@dataclass(frozen=True)
class Loaded:
    """A model in memory, the names it answers to, and what can join."""

    model: Any
    served: list[ServedModel]
    adapters: RunAdapters


def load_served(
    runs: Sequence[str], base: str | None, *, runs_folder: Path, device: str | None, reporter: Reporter
) -> Loaded:
    """Load what is to be served.

    Args:
        runs: Names or paths of runs; adapters of one base, or one that was tuned as a whole.
        base: A model without adapters, or the one that the runs are expected to sit on.
        runs_folder: Where names of runs are looked up, now and later.
        device: Where to; None for the first run's choice.
        reporter: Told what is loaded.

    Raises:
        InputError: Nothing is named, or what is named does not go together.
    """
    if not runs:
        if base is None:
            raise InputError("Name a run to serve, or a model with --base.")
        return _load_base(base, runs_folder, device, reporter)
    paths = [find_run(run, runs_folder) for run in runs]
    if twice := {path.name for path in paths if [p.name for p in paths].count(path.name) > 1}:
        raise InputError(f"'{twice.pop()}' is named twice; clients could not tell them apart.")
    reporter.stage(f"Load {paths[0].name}")
    first = load_run(paths[0], device=device, reporter=reporter)
    if base is not None and _place_of(find_model(base, None, reporter)) != _place_of(first.base_source):
        raise InputError(f"{first.folder.name} was trained on {first.base_source.name}, not on {base}.")
    model: Any = first.model
    model.eval().requires_grad_(False)
    if first.recipe.is_full:
        if len(paths) > 1:
            raise InputError(f"{first.folder.name} was tuned as a whole: it is a model of its own. Serve it alone.")
        own = ServedModel(first.folder.name, "model", first.contract, first.template)
        return Loaded(model, [own], RunAdapters(runs_folder, None))
    # The base is asked as the first run is, as in `luthier chat`: then the two differ by the adapter alone.
    served = [
        ServedModel(BASE_NAME, "base", first.contract, first.template),
        ServedModel(first.folder.name, "adapter", first.contract, first.template, model.active_adapter),
    ]
    foundation = Foundation(
        first.base_source, first.placement, _stored(first.recipe), first.contract.tokenizer_fingerprint
    )
    adapters = RunAdapters(runs_folder, foundation)
    for path in paths[1:]:
        reporter.stage(f"Load {path.name}")
        another, put_on = adapters.open_folder(path)
        model = put_on(model)
        served.append(another)
    if any(path.name == BASE_NAME for path in paths):
        raise InputError(f"A run cannot be served under the name '{BASE_NAME}': it is that of the model under it.")
    return Loaded(model, served, adapters)


def _load_base(name: str, runs_folder: Path, device: str | None, reporter: Reporter) -> Loaded:
    reporter.stage(f"Load {name}")
    source = find_model(name, None, reporter)
    placement = place(device or "auto", "auto")
    tokenizer = load_tokenizer(source)
    if (Path(source.location) / FILE_NAME).is_file():  # an export: it says how it is to be asked
        contract = InferenceContract.load(Path(source.location))
        template = contract.chat_template(tokenizer)
    else:
        template = ChatTemplate.from_tokenizer(tokenizer)
        eos = generation_eos_ids(source)
        contract = InferenceContract.from_template(template, base_model=name, generation_eos_ids=eos)
        template.stop_ids = contract.stop_ids
    model: Any = load_causal_lm(source, placement.dtype, placement.device)
    foundation = Foundation(source, placement, ("compute", False), contract.tokenizer_fingerprint)
    served = [ServedModel(BASE_NAME, "base", contract, template)]
    return Loaded(model, served, RunAdapters(runs_folder, foundation))


def _refuse_other_base(name: str, recipe: Recipe, contract: InferenceContract, foundation: Foundation) -> None:
    source, placement = find_model(recipe.model.name, recipe.model.revision), foundation.placement
    dtype = place(str(placement.device.type), recipe.precision.compute).dtype
    if _place_of(source) != _place_of(foundation.source):
        # Not where they are: clients read this, too.
        its, ours = (
            PurePath(s.location).name + (f" at {s.revision}" if s.revision else "") for s in (source, foundation.source)
        )
        raise InputError(f"{name} was trained on another base than the one that is served: {its}, not {ours}. {_ALONE}")
    differences = (
        ("storage of the base (format, scales quantised too)", _stored(recipe), foundation.stored),
        ("number format", dtype, placement.dtype),
        ("tokenizer", contract.tokenizer_fingerprint, foundation.tokenizer_fingerprint),
    )
    for what, its, ours in differences:
        if its != ours:
            raise InputError(f"{name} does not fit the base that is served; {what}: {its}, not {ours}. {_ALONE}")


def _place_of(source: ModelSource) -> tuple[str, str | None]:
    path = Path(source.location)
    return (str(path.resolve()) if path.is_dir() else source.location), source.revision


def _stored(recipe: Recipe) -> tuple[str, bool]:
    base = recipe.precision.base
    return base, base != "compute" and recipe.precision.double_quantization
