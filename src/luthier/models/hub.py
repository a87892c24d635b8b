"""Models from the hub: all files of one, into the hub client's own cache, where every later command finds them."""

from __future__ import annotations

import shutil
from pathlib import Path

from luthier.errors import ModelError, ResourceError
from luthier.plan.catalogue import CatalogueModel
from luthier.plan.locate import hub_cache
from luthier.reporter import Reporter
from luthier.units import format_bytes

FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""Weights in one format only, tokenizer, template, configs."""


def fetch_from_hub(hub: str, row: CatalogueModel | None, reporter: Reporter) -> Path:
    """Folder of a hub model; what is there already is not fetched again.

    Args:
        hub: Its hub id.
        row: Its row in the catalogue, where it has one: the disk is looked at first.

    Raises:
        ModelError: It is not there, asks for an agreement that was not given, or the hub is out of reach.
        ResourceError: Too little disk.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    if row is not None:
        _require_disk(row)
    reporter.stage(f"Fetch {hub}")
    try:
        return Path(snapshot_download(hub, allow_patterns=list(FILES)))
    except GatedRepoError as error:
        raise ModelError(
            f"{hub} asks for an agreement: accept it at https://huggingface.co/{hub}, then log in with: hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"The hub has no model '{hub}', or it is private. See: luthier models list") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{hub} could not be fetched: {first} Check the network and try again.") from error


def _require_disk(row: CatalogueModel) -> None:
    need = 2 * row.shape.parameters().total
    place = next(p for p in (hub_cache(), *hub_cache().parents) if p.is_dir())
    free = shutil.disk_usage(place).free
    if free < need:
        raise ResourceError(
            f"{row.name} takes {format_bytes(need)}; {place} has {format_bytes(free)} free. "
            "Free some space or set HF_HOME to another disk."
        )
