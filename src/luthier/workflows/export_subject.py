"""What `luthier export` starts from: a finished run with its files and its facts, no weights loaded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from luthier.config.recipe import Recipe
from luthier.data.template import ChatTemplate
from luthier.errors import DataError, InputError, ModelError, RunError
from luthier.export.agreement import MOST_TOKENS, ProbeRow
from luthier.export.changes import StoredInNf4
from luthier.export.combine import Combination
from luthier.export.merge import NetworkNames, network_names, plan_merge
from luthier.export.peft_folder import PeftFolder
from luthier.export.peft_merge import read_adapter
from luthier.export.qlora import on_stored_base
from luthier.export.subject import Subject
from luthier.export.weight_files import DTYPES, WeightFiles
from luthier.models.contract import InferenceContract
from luthier.models.load import ModelSource, find_model, load_config, load_tokenizer
from luthier.models.placement import DTYPES as COMPUTE_DTYPES
from luthier.models.placement import place
from luthier.models.quantize import quantization
from luthier.plan.locate import cached_snapshot
from luthier.reporter import Reporter
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.types import Conversation, Document
from luthier.workflows.export_card import card_facts
from luthier.workflows.load_run import open_run
from luthier.workflows.training_rows import read_held_out_rows, read_training_rows

PROBE_ROWS = 32
PROBE_TOKENS = 2048
TOKEN_CONVERSATIONS = 10


@dataclass(frozen=True)
class OtherRun:
    """A further adapter that is put into the same base."""

    run: str
    weight: float


def open_subject(
    run: Path,
    *,
    others: Sequence[OtherRun] = (),
    combination: Combination | None = None,
    dtype: str | None = None,
    onto_nf4: bool = False,
    reporter: Reporter,
) -> tuple[Subject, Recipe]:
    """Read a run, plan its merge.

    Args:
        run: Its folder.
        others: Runs whose adapters are merged too.
        combination: How several adapters become one.
        dtype: bf16, fp16 or fp32; None keeps the base's.
        onto_nf4: Merge into what the 4-bit numbers of QLoRA's base stand for, not into the base's own weights.
        reporter: Told if the base must be fetched.

    Raises:
        RunError: It has no result.
        InputError: Other runs are of another base, or have no adapter.
        ModelError: Base or adapter cannot be read, or do not fit.
    """
    wanted = _dtype(dtype)
    folder, recipe = open_run(run)
    manifest = Manifest.load(folder)
    result = _result(folder, recipe, manifest)
    base = find_model(recipe.model.name, recipe.model.revision, reporter)
    own = ModelSource(result.name, str(result), None)
    tokenizer = load_tokenizer(own)
    contract = InferenceContract.load(result)
    template = contract.chat_template(tokenizer)
    source = own if recipe.is_full else base
    weights = WeightFiles.open(result if recipe.is_full else local_folder(base))
    if recipe.is_full and others:
        raise InputError(f"{folder.name} trained all parameters; only adapters on one base can be merged together.")
    folders = [] if recipe.is_full else [result, *_other_adapters(others, folder, recipe, contract)]
    adapters = tuple(read_adapter(each, base, weights, tokenizer) for each in folders)
    how = combination if len(adapters) > 1 else None
    config = load_config(source)
    names = network_names(config)
    put_in = _on_nf4(adapters, names, recipe) if onto_nf4 else adapters
    plan = plan_merge(weights, names, put_in, num_tokens=len(tokenizer), combination=how, dtype=wanted)
    stored = wanted or _stored_dtype(weights)
    card = card_facts(folder, manifest, recipe, base, adapters, how)
    files = (base, result, config, weights, adapters, plan, stored)
    asked = (tokenizer, template, contract, card, _quantization(recipe))
    return Subject(folder.name, folder.path, *files, *asked), recipe


def _dtype(name: str | None) -> torch.dtype | None:
    if name is not None and name not in COMPUTE_DTYPES:
        raise InputError(
            f"There is no number format '{name}' for merged weights. There are: {', '.join(COMPUTE_DTYPES)}."
        )
    return None if name is None else COMPUTE_DTYPES[name]


def _on_nf4(adapters: Sequence[PeftFolder], names: NetworkNames, recipe: Recipe) -> tuple[PeftFolder, ...]:
    stored = StoredInNf4(_compute(recipe), recipe.precision.double_quantization)
    return tuple(on_stored_base(adapter, names.linear, stored) for adapter in adapters)


def was_nf4(recipe: Recipe) -> bool:
    """Whether an adapter was trained beside a base in 4 bits."""
    return not recipe.is_full and recipe.precision.base == "nf4"


def _quantization(recipe: Recipe) -> Any:
    """How the live model's base is loaded, to compute in fp32; int8 rounds what goes through it too, and is left out."""
    if not was_nf4(recipe):
        return None
    double = recipe.precision.double_quantization
    return quantization("nf4", torch.float32, double=double, device=torch.device("cpu"))


def _compute(recipe: Recipe) -> torch.dtype:
    return place(recipe.train.device, recipe.precision.compute).dtype


def _result(folder: RunFolder, recipe: Recipe, manifest: Manifest) -> Path:
    result = folder / ("model" if recipe.is_full else "adapter")
    if not result.is_dir():
        raise RunError(
            f"{folder.name} has no result yet (status: {manifest.status}). "
            f"Continue it with: luthier train --resume {folder.typed}"
        )
    return result


def local_folder(source: ModelSource) -> Path:
    """The folder of a model's files on this machine.

    Raises:
        ModelError: A hub model that is not in the cache.
    """
    if Path(source.location).is_dir():
        return Path(source.location)
    snapshot = cached_snapshot(source.location)
    if snapshot is None:
        raise ModelError(f"{source.location} is not on this machine. Fetch it with: luthier models fetch {source.name}")
    return snapshot


def _stored_dtype(weights: WeightFiles) -> torch.dtype:
    """The number format of most of the weights."""
    sizes: dict[torch.dtype, int] = {}
    for tensor in weights:
        if tensor.dtype.is_floating_point:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.num_bytes
    assert set(sizes) <= set(DTYPES.values())
    return max(sizes, key=lambda each: sizes[each])


def _other_adapters(
    others: Sequence[OtherRun], folder: RunFolder, recipe: Recipe, contract: InferenceContract
) -> list[Path]:
    found: list[Path] = []
    for other in others:
        other_folder, other_recipe = open_run(Path(other.run))
        if other_recipe.is_full:
            raise InputError(
                f"{other_folder.name} trained all parameters, so it has no adapter that could be merged too."
            )
        if other_recipe.model.name != recipe.model.name:
            raise InputError(
                f"{other_folder.name} was trained on {other_recipe.model.name}, {folder.name} on {recipe.model.name}: adapters "
                "can only be merged on the base that both were trained on."
            )
        result = _result(other_folder, other_recipe, Manifest.load(other_folder))
        if InferenceContract.load(result).tokenizer_fingerprint != contract.tokenizer_fingerprint:
            raise InputError(f"{other_folder.name} was trained with another tokenizer than {folder.name}.")
        found.append(result)
    return found


def read_probes(
    folder: RunFolder, recipe: Recipe, template: ChatTemplate, reporter: Reporter
) -> tuple[list[ProbeRow], list[Conversation]]:
    """Held-out rows for the comparison of predictions, and conversations for that of tokens.

    Where the data are no longer there, the rows that the run kept for looking at take their place, and that is said.
    """
    try:
        items = _held_out(folder, recipe)
    except DataError as error:
        reporter.say(
            f"The run's data cannot be read again ({str(error).splitlines()[0]}), so the rows of token_view.json are used, "
            "and the test of tokens is left out.",
            "warning",
        )
        return _kept_rows(folder), []
    assert recipe.train.seed is not None
    order = random.Random(recipe.train.seed).sample(range(len(items)), len(items))
    rows: list[ProbeRow] = []
    size = 0
    for item in (items[i] for i in order):
        views = template.encode_rows([item]) if isinstance(item, Conversation | Document) else []
        if not views or isinstance(views[0], DataError):
            continue
        view = views[0][-1]
        size += min(len(view.ids), MOST_TOKENS)
        if rows and size > PROBE_TOKENS:
            break
        rows.append(ProbeRow(tuple(view.ids.tolist()), tuple(view.trained.tolist())))
        if len(rows) == PROBE_ROWS:
            break
    talks = [items[i] for i in order if isinstance(items[i], Conversation)]
    plain = [c for c in talks if isinstance(c, Conversation) and not template.special_tokens_in_content(c)]
    return rows, plain[:TOKEN_CONVERSATIONS]


def _held_out(folder: RunFolder, recipe: Recipe) -> list[Any]:
    """The validation rows; training rows where a run has none."""
    return list(read_held_out_rows(folder, recipe) or read_training_rows(folder, recipe))


def _kept_rows(folder: RunFolder) -> list[ProbeRow]:
    rows = folder.read_json("token_view.json") or []
    return [ProbeRow(tuple(r["ids"]), tuple(bool(t) for t in r["trained"])) for r in rows]
