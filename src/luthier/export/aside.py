"""A folder that is either whole and verified, or not there: written aside, renamed at the end, the disk looked at first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from luthier.errors import InputError, ResourceError
from luthier.runs.atomic import sync_folder
from luthier.units import format_bytes

RECORD_FILE = "export.json"
SPARE_BYTES = 64 * 2**20
"""Left free beside what is written: other programs write too."""


def refuse_existing(target: Path, *, force: bool) -> None:
    """Raise before any work where something is in the way.

    Raises:
        InputError: The target exists and may not be replaced, or is no export of Luthier's.
    """
    if not target.exists():
        return
    is_ours = (target / RECORD_FILE).is_file()
    is_empty = target.is_dir() and not any(target.iterdir())
    if is_empty:
        return
    if not is_ours:
        raise InputError(
            f"{target} exists and holds no {RECORD_FILE}, so it is no finished export of Luthier and is not touched. "
            "Choose another --out, or remove it."
        )
    if not force:
        raise InputError(f"{target} holds an export already. Choose another --out, or replace it with --force.")


def require_disk(target: Path, need_bytes: int) -> None:
    """Raise where the disk of `target` is too small.

    Raises:
        ResourceError: It is.
    """
    place = next(parent for parent in (target, *target.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    if free < need_bytes + SPARE_BYTES:
        raise ResourceError(
            f"The export takes {format_bytes(need_bytes)}; {place} has {format_bytes(free)} free. Free some space, or choose "
            "another place with --out."
        )


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Inside, an empty folder beside `target`; it takes the target's name if all goes well, and is removed if not.

    What an earlier process left aside when it was killed is removed first.
    """
    aside = target.with_name(f".{target.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        _flush(aside)
        _take_name(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _take_name(aside: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.replaced")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(aside, target)
    shutil.rmtree(old, ignore_errors=True)
    sync_folder(target.parent)
