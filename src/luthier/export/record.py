"""export.json: what an export is, what it came from, what was checked, and the hash of every file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from luthier.errors import InputError
from luthier.export.aside import RECORD_FILE
from luthier.runs.atomic import write_json
from luthier.types import Check

_VERSION = 1
_CHUNK = 2**22


@dataclass(frozen=True)
class FileRecord:
    """A file of an export."""

    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class ExportRecord:
    """The contents of export.json.

    Attributes:
        format: Such as merged.
        type: Number format or quantisation.
        run: The run's folder when it was exported.
        base_model: As the run names it.
        files: All but export.json itself.
        checks: As `types.Check.to_json`.
        figures: What was measured.
        settings: What the export was told, and how adapters were combined.
    """

    format: str
    type: str
    run: str
    base_model: str
    created_at: str
    luthier_version: str
    verified: bool
    files: tuple[FileRecord, ...]
    checks: tuple[Mapping[str, Any], ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write export.json."""
        write_json(folder / RECORD_FILE, {"version": _VERSION, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> ExportRecord:
        """Read export.json.

        Raises:
            InputError: There is none, or it is damaged or of a later version.
        """
        path = folder / RECORD_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{folder} holds no {RECORD_FILE}, so it is no finished export of Luthier.") from error
        except ValueError as error:
            raise InputError(f"{path} is not JSON: {error}. Export again.") from error
        if content.get("version") != _VERSION:
            raise InputError(f"{path} has version {content.get('version')!r}; this Luthier reads version {_VERSION}.")
        known = {f.name for f in fields(cls)}
        if {k for k in content if k != "version"} != known:
            raise InputError(f"{path} is damaged: it should hold {', '.join(sorted(known))}. Export again.")
        files = tuple(FileRecord(**each) for each in content["files"])
        checks = tuple(content["checks"])
        return cls(**{k: v for k, v in content.items() if k != "version"} | {"files": files, "checks": checks})


def hash_file(path: Path) -> str:
    """sha256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def hash_folder(folder: Path, on_file: Callable[[int], None] | None = None) -> tuple[FileRecord, ...]:
    """All files but export.json, sorted by path."""
    records: list[FileRecord] = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RECORD_FILE):
        records.append(FileRecord(path.relative_to(folder).as_posix(), path.stat().st_size, hash_file(path)))
        if on_file is not None:
            on_file(records[-1].num_bytes)
    return tuple(records)


def files_unchanged(folder: Path, expected: Sequence[FileRecord]) -> Check:
    """The files of an export are those that were verified."""
    now = {record.path: record for record in hash_folder(folder)}
    wrong = [f"{record.path} is missing" for record in expected if record.path not in now]
    wrong += [f"{r.path} has other contents" for r in expected if r.path in now and now[r.path].sha256 != r.sha256]
    wrong += [f"{path} was added" for path in now.keys() - {record.path for record in expected}]
    return Check(
        name="export.files",
        claim="Every file is there and has the contents that were verified.",
        measured="equal" if not wrong else f"{len(wrong)} differences, first: {sorted(wrong)[0]}",
        limit="equal",
        unit="",
        passed=not wrong,
        advice="Something was changed, lost or added after the export. Export again, or restore the folder.",
    )
