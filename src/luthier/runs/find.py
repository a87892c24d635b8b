"""Finds a run by what a person types: its name, or the path of its folder."""

from __future__ import annotations

from pathlib import Path

from luthier.runs.folder import RunFolder


def find_run(name_or_path: str, folder: Path = Path("runs")) -> Path:
    """Folder of a run.

    Args:
        name_or_path: A name below `folder`, or a path.
        folder: Where names are looked up.

    Raises:
        RunError: There is no such run; the message names those that there are.
    """
    path = Path(name_or_path).expanduser()
    named = folder / name_or_path
    is_path = path.is_absolute() or len(path.parts) > 1 or (path / "run.json").is_file()
    return RunFolder.open(path if is_path and not (named / "run.json").is_file() else named).path
