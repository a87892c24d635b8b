"""An adapter that an earlier run made: found by the run's name or its folder, and held against the base.

A run's adapter knows its base by name, and so does any adapter of PEFT's; one for another base is refused before weights are
read. Nothing heavy is imported.
"""

from __future__ import annotations

import json
from pathlib import Path

from luthier.errors import ModelError
from luthier.plan.catalogue import find_in_catalogue

CONFIG = "adapter_config.json"


def find_adapter(name: str, field: str) -> Path:
    """The folder of an adapter.

    Args:
        name: A folder of PEFT's layout, a run folder, or the name of a run under ``runs/``.
        field: Where the name was written, for errors.

    Raises:
        ModelError: There is none.
    """
    path = Path(name).expanduser()
    if not path.exists() and len(path.parts) == 1:
        path = Path("runs") / path
    if not path.is_dir():
        raise ModelError(f"{field}: there is no folder {path}. Give a run's name, a run folder, or an adapter folder.")
    for folder in (path, path / "adapter"):
        if (folder / CONFIG).is_file():
            return folder
    why = "it holds a full model, not an adapter" if (path / "model").is_dir() else f"it holds no {CONFIG}"
    raise ModelError(f"{field}: {path} cannot be used: {why}.")


def refuse_other_base(folder: Path, base_name: str, field: str) -> None:
    """Hold the base that an adapter names against the one that is loaded.

    Raises:
        ModelError: It is another one.
    """
    named = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if named and _same_model(named) != _same_model(base_name):
        raise ModelError(
            f"{field}: the adapter in {folder} was trained on '{named}', but model.name is '{base_name}'. An adapter works only "
            f"on its own base. If both are the same model, set base_model_name_or_path in its {CONFIG} to '{base_name}'."
        )


def _same_model(name: str) -> str:
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path.resolve())
    row = find_in_catalogue(name)
    return (row.hub if row is not None else name).lower()
