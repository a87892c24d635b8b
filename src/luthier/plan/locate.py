"""A model's shape from its name alone: a folder, a model in a cache, a row of the catalogue, or a hub id. No weights are read."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from luthier.errors import ModelError
from luthier.plan.catalogue import CatalogueModel, find_in_catalogue, load_catalogue
from luthier.plan.headers import read_headers, shape_from_headers
from luthier.plan.shapes import Shape, read_shape


@dataclass(frozen=True)
class FoundModel:
    """Where a shape came from.

    Attributes:
        name: As it was asked for.
        source: The file or row that the numbers are from.
        folder: Where its files are; None where none are on this machine.
        row: Its row in the catalogue, where it has one.
        warnings: What does not agree.
    """

    name: str
    shape: Shape
    source: str
    folder: Path | None = None
    row: CatalogueModel | None = None
    warnings: tuple[str, ...] = ()


def locate(name: str, models_folder: Path | None = None) -> FoundModel:
    """The shape of a model.

    Args:
        name: A folder, a name of the catalogue, or a hub id.
        models_folder: Where fetched models lie, by name.

    Raises:
        ModelError: There is nothing by that name, or its numbers cannot be read.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return _from_folder(name, path)
    row = find_in_catalogue(name)
    fetched = models_folder / name.lower() if models_folder is not None else None
    if fetched is not None and (fetched / "config.json").is_file():
        found = _from_folder(name, fetched)
        return FoundModel(name, found.shape, found.source, fetched, row, found.warnings)
    hub = row.hub if row is not None else name
    snapshot = cached_snapshot(hub)
    if snapshot is not None:
        found = _from_folder(name, snapshot)
        return FoundModel(name, found.shape, found.source, snapshot, row, found.warnings)
    if row is not None:
        return FoundModel(name, row.shape, f"the catalogue ({row.source})", None, row)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _from_hub(name)
    known = [row.name for row in load_catalogue()]
    near = [n for n in known if n.startswith(name.lower())][:3] or get_close_matches(name.lower(), known, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "See: luthier models list"
    raise ModelError(f"No model '{name}': no folder, no name of the catalogue, no hub id (owner/name). {hint}")


def hub_cache() -> Path:
    """Where hub clients keep what they fetched (HF_HUB_CACHE, HF_HOME, or the default)."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def cached_snapshot(hub: str) -> Path | None:
    """The newest snapshot of a hub model that has a config.json; None where there is none."""
    snapshots = hub_cache() / f"models--{hub.replace('/', '--')}" / "snapshots"
    found = [p.parent for p in snapshots.glob("*/config.json")] if snapshots.is_dir() else []
    return max(found, key=lambda p: (p / "config.json").stat().st_mtime, default=None)


def _from_folder(name: str, folder: Path) -> FoundModel:
    config = folder / "config.json"
    if not config.is_file():
        return FoundModel(
            name, shape_from_headers(read_headers(folder), str(folder)), f"tensor sizes in {folder}", folder
        )
    shape = read_shape(_read_json(config), str(config))
    return FoundModel(name, shape, str(config), folder, find_in_catalogue(name), _disagreement(folder, shape))


def _disagreement(folder: Path, shape: Shape) -> tuple[str, ...]:
    """Weights on disk that are not as many as the config says: another model, or an incomplete download."""
    if not any(folder.glob("*.safetensors")):
        return ()
    stored = sum(tensor.num_elements for tensor in read_headers(folder))
    total = shape.parameters().total
    if shape.tied and stored == total + shape.vocab * shape.hidden:  # some files hold a tied head twice
        return ()
    if stored == total or shape.notes:
        return ()
    return (f"{folder}: the files hold {stored:,} parameters, config.json describes {total:,}.",)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is no config: it holds {type(content).__name__}, not an object.")
    return content


def _from_hub(name: str) -> FoundModel:
    """Fetch config.json alone; a few kilobytes."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(name, "config.json"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"'{name}' is not in the catalogue, not in the local cache, and its config.json could not be fetched: {first} "
            "Put config.json into a folder and name that: luthier plan --model ./folder"
        ) from error
    return FoundModel(
        name, read_shape(_read_json(path), f"{name}/config.json"), f"https://huggingface.co/{name}", path.parent
    )
