"""Tokens that were made once: kept under the user's cache folder, found again by everything that could change them.

An entry is a folder named by its key: ``train/`` and ``validation/`` (token sets), ``report.json`` and ``key.json`` (what
the key was made of, for people who wonder why an entry was not found). It is written aside and renamed, so that it is
whole or not there, and so that two processes that make the same entry do not disturb each other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from luthier.data.report import DataReport
from luthier.data.tokenize import TokenizedSet
from luthier.errors import DataError
from luthier.runs.atomic import sync_folder, write_json

DATA_CODE_VERSION = 6
"""Raise it whenever code in `luthier.data` changes what tokens or weights come out of the same files."""


class Entry(NamedTuple):
    """What one entry holds."""

    train: TokenizedSet
    validation: TokenizedSet
    report: DataReport


def cache_folder() -> Path:
    """Where Luthier keeps what it can make again: ``LUTHIER_CACHE``, else the platform's folder for caches."""
    if chosen := os.environ.get("LUTHIER_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "luthier"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "luthier" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "luthier"


def cache_key(parts: Mapping[str, Any]) -> str:
    """A name for everything in `parts` together with the code and the libraries that turn it into tokens."""
    whole = {**parts, "code": DATA_CODE_VERSION, "libraries": _library_versions()}
    text = json.dumps(whole, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def find(key: str) -> Entry | None:
    """The entry, or None where there is none.

    Raises:
        DataError: The entry is damaged; `keep` replaces it.
    """
    folder = _entry_folder(key)
    if not folder.is_dir():
        return None
    train, validation = TokenizedSet.load(folder / "train"), TokenizedSet.load(folder / "validation")
    try:
        report = DataReport.from_json(json.loads((folder / "report.json").read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} is damaged: report.json cannot be read ({error})") from error
    if report.fingerprint != data_fingerprint(train, validation):
        raise DataError(f"{folder} is damaged: the report belongs to other tokens")
    return Entry(train, validation, report)


def keep(key: str, parts: Mapping[str, Any], entry: Entry) -> None:
    """Write an entry. Where another process was faster and its entry is intact, that one stays.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    folder = _entry_folder(key)
    aside = folder.with_name(f".{key}.{uuid.uuid4().hex}.tmp")
    try:
        entry.train.save(aside / "train")
        entry.validation.save(aside / "validation")
        write_json(aside / "report.json", entry.report.to_json())
        write_json(aside / "key.json", dict(parts))
        _put_in_place(aside, folder, key)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(folder.parent)


def data_fingerprint(train: TokenizedSet, validation: TokenizedSet) -> str:
    """One hash for both sides."""
    return hashlib.blake2b(f"{train.fingerprint}{validation.fingerprint}".encode(), digest_size=16).hexdigest()


def _put_in_place(aside: Path, folder: Path, key: str) -> None:
    try:
        os.rename(aside, folder)
        return
    except OSError:
        if not folder.is_dir():
            raise
    try:
        find(key)
    except DataError:
        away = folder.with_name(f".{key}.{uuid.uuid4().hex}.old")
        os.rename(folder, away)
        os.rename(aside, folder)
        shutil.rmtree(away, ignore_errors=True)


def _entry_folder(key: str) -> Path:
    return cache_folder() / "tokens" / key


def _library_versions() -> dict[str, str]:
    return {name: version(name) for name in ("tokenizers", "transformers")}
