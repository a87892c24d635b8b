"""Facts of a run for the model card of its exports: data, recipe, figures, limits, licence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luthier.config.recipe import Recipe
from luthier.export.combine import Combination
from luthier.export.peft_folder import PeftFolder
from luthier.models.builtin import BUILTIN
from luthier.models.load import ModelSource
from luthier.plan.catalogue import find_in_catalogue
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest


def card_facts(
    folder: RunFolder,
    manifest: Manifest,
    recipe: Recipe,
    base: ModelSource,
    adapters: Sequence[PeftFolder],
    combination: Combination | None,
) -> dict[str, Any]:
    """What `export.card` writes down, read from the run's files.

    Args:
        folder: Of the run.
        manifest: Its run.json.
        recipe: Its recipe.
        base: The base model.
        adapters: That go into the export; none for a fully tuned model.
        combination: How several become one.
    """
    licence = _licence(base.name)
    kinds = " + ".join(adapter.kind for adapter in adapters) or "all parameters"
    summary = f"{base.name}, tuned by the run {folder.name} ({manifest.method}, {kinds})."
    if combination is not None:
        summary += f" Adapters of {len(adapters)} runs, combined: {combination.describe()}."
    losses = [
        f"{words} {value:.4f}"
        for key, words in (("train_loss", "training loss"), ("validation_loss", "validation loss"))
        if isinstance(value := manifest.summary.get(key), int | float)
    ]
    verdict = manifest.verdict or manifest.status
    limits = [*base.notes, *manifest.summary.get("notes", [])]
    limits.append("It was tested on this run's data and tasks alone; what it does elsewhere was not measured.")
    if verdict != "verified":
        failed = [check.name for check in folder.checks() if not check.passed]
        limits.append(f"The run is not verified; failed checks: {', '.join(failed) or 'none recorded'}.")
    if recipe.precision.base == "int8":
        limits.append("It was trained beside a base in int8; here the adapter stands on the base's own weights.")
    return {
        "summary": summary,
        "data": _data_words(folder),
        "training": f"{manifest.step} steps; result of step {manifest.result_step}; "
        + ", ".join(losses or ["no losses"])
        + f"; verdict: {verdict}. Luthier {manifest.luthier_version}. The recipe:\n\n```yaml\n{_recipe_text(folder)}\n```",
        "evaluation": _evaluation_words(folder, manifest),
        "limits": list(dict.fromkeys(limits)),
        "base_hub": _hub_id(base),
        "licence": licence,
        "licence_words": f"The base model's licence: {licence}. It holds for what was made of it; read it before you share this."
        if licence
        else f"The licence of {base.name} is not known here: it holds for this model too, so read it before you share this.",
    }


def _hub_id(base: ModelSource) -> str | None:
    """Of the base model on the hub, as the hub wants it in a card."""
    row = find_in_catalogue(base.name)
    if row is not None:
        return row.hub
    return None if Path(base.location).is_dir() else base.location


def _licence(name: str) -> str | None:
    if name.lower() in BUILTIN:
        return BUILTIN[name.lower()].licence
    row = find_in_catalogue(name)
    return None if row is None else row.licence


def _recipe_text(folder: RunFolder) -> str:
    given = folder / "recipe.yaml"
    path = given if given.is_file() else folder / "recipe.resolved.yaml"
    return path.read_text(encoding="utf-8").rstrip()


def _data_words(folder: RunFolder) -> str:
    report = folder.read_json("data.json") or {}
    files = [
        f"- `{Path(file['path']).name}`: {file['num_rows']} rows, sha256 `{str(file['sha256'])[:16]}`"
        for file in (*report.get("files", []), *report.get("validation_files", []))
    ]
    side = report.get("train", {})
    total = f"{side.get('num_rows', '?')} rows were learnt from, {side.get('num_supervised_tokens', '?')} tokens of answers."
    return "\n".join([*files, "", total])


def _evaluation_words(folder: RunFolder, manifest: Manifest) -> str:
    """The summaries of the run's evaluations, and what the training itself measured."""
    parts = [
        path.read_text(encoding="utf-8").strip().replace("\n#", "\n###").removeprefix("# ")
        for path in sorted((folder / "evaluation").glob("*/summary.md"))
    ]
    shares = manifest.summary.get("stop_share")
    if isinstance(shares, dict) and shares:
        ends = ", ".join(f"{name} model {100 * float(share):.0f} %" for name, share in shares.items())
        parts.append(f"Answers to held-out prompts that end by themselves: {ends}.")
    return "\n\n".join(parts)
