"""Folders, patterns and names of the hub → the data files that they mean, sorted by path.

A folder means all files below it that can be read; hidden ones and other kinds are passed over. Files of different kinds are
refused: a folder of rows with a README beside them would be learnt with the README.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.data.hub import hub_files, is_hub_name
from luthier.data.open_file import kind_of_file
from luthier.data.sources import READERS, is_generated
from luthier.errors import DataError

_LISTED = 10
_PATTERN_SIGNS = "*?["


def find_files(names: Sequence[str | Path]) -> tuple[str, ...]:
    """The files that `names` stand for: folders and patterns (``data/**/*.jsonl``) opened up, all others as they are.

    Raises:
        DataError: A folder or pattern holds no data file, or holds files of several kinds; a file is named twice; or a data
            set of the hub (``hub:owner/name``) cannot be had.
    """
    files = [file for name in names for file in _files_of(str(name))]
    twice = sorted({file for file in files if files.count(file) > 1}) if len(files) < 10_000 else []
    if twice:
        raise DataError(f"Named more than once: {', '.join(twice[:_LISTED])}. Its rows would count twice; name it once")
    return tuple(files)


def _files_of(name: str) -> list[str]:
    if is_generated(name):
        return [name]
    if is_hub_name(name):
        return hub_files(name)
    path = Path(name)
    if path.is_dir():
        return _of_one_kind(name, [str(file) for file in _below(path)], f"{name.rstrip('/')}/**/*")
    if path.exists() or not any(sign in name for sign in _PATTERN_SIGNS):
        return [name]
    found = [file for file in glob.iglob(name, recursive=True) if Path(file).is_file()]
    if not found:
        raise DataError(f"{name}: no file fits the pattern (it starts at {Path.cwd()})")
    return _of_one_kind(name, [file for file in found if kind_of_file(Path(file)) in READERS], name)


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and kind_of_file(path) in READERS:
            yield path


def _of_one_kind(name: str, files: Sequence[str], pattern: str) -> list[str]:
    if not files:
        raise DataError(f"{name} holds no file of a kind that can be read ({', '.join(READERS)})")
    kinds: dict[Any, list[str]] = {}
    for file in sorted(files):
        kinds.setdefault(READERS[kind_of_file(Path(file))], []).append(file)
    if len(kinds) > 1:
        raise DataError(_several_kinds(name, kinds, pattern))
    return sorted(files)


def _several_kinds(name: str, kinds: Mapping[Any, Sequence[str]], pattern: str) -> str:
    lines = [f"{name} holds files of several kinds, and it is not clear which of them are meant:"]
    for files in kinds.values():
        suffix = kind_of_file(Path(files[0]))
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        lines.append(f"  {suffix}: {', '.join(files[:3])}{more}")
    suffix = kind_of_file(Path(max(kinds.values(), key=len)[0]))
    stem = pattern.removesuffix("*") if pattern.endswith("/**/*") else str(Path(name).parent) + "/"
    lines.append(f"Name the kind, e.g. '{stem}*{suffix}'")
    return "\n".join(lines)
