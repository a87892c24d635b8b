"""Paths inside a recipe become absolute when it is loaded, so that a run can be read and resumed from anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from luthier.config.yaml_source import KeyPath

NO_FILES = ("demo:", "hub:")
MODEL_FILE = "config.json"


def absolute_paths(data: dict[str, Any], base_of: Callable[[KeyPath], Path]) -> None:
    """Rewrite the path fields of a recipe's data in place; what is no text is left for the checks to complain about.

    Args:
        data: The recipe as nested mappings.
        base_of: The folder that relative paths at a place in the recipe start from.
    """
    for (section, key), is_path in PATH_FIELDS.items():
        values: Any = data.get(section)
        if not isinstance(values, dict) or key not in values:
            continue
        at: KeyPath = (section, key)
        found: Any = cast("dict[str, Any]", values)[key]
        if (section, key) == ("model", "name") and isinstance(found, str):
            values[key] = _model(found, base_of(at))
        elif isinstance(found, str) and is_path(found):
            values[key] = _absolute(found, base_of(at))
        elif isinstance(found, (list, tuple)):
            items = cast("list[Any]", found)
            absolute = _absolute_task if section == "evaluate" else _absolute
            values[key] = [
                absolute(item, base_of((*at, index))) if isinstance(item, str) and is_path(item) else item
                for index, item in enumerate(items)
            ]


def _is_data_file(text: str) -> bool:
    return not text.startswith(NO_FILES)


def _is_template_file(text: str) -> bool:
    return text not in ("auto", "chatml")


def _is_model_folder(text: str) -> bool:
    return text.startswith(("./", "../", "~"))


def _model(text: str, base: Path) -> str:
    """A bare ``b`` or ``a/b`` may be a name or a hub id: it is a folder where there is one, beside the recipe or here."""
    if _is_model_folder(text):
        return _absolute(text, base)
    return next(
        (_absolute(text, folder) for folder in (base, Path.cwd()) if (folder / text / MODEL_FILE).is_file()), text
    )


def _is_adapter_folder(text: str) -> bool:
    """A bare name is a run's."""
    return "/" in text or text.startswith((".", "~"))


def _is_task_file(text: str) -> bool:
    return "/" in text or text.endswith((".yaml", ".yml")) or _LAYOUT_AND_FILE.match(text) is not None


_LAYOUT_AND_FILE = re.compile(r"(?P<layout>[a-z][a-z0-9_]+:)(?P<file>.+)")
"""A task of a known layout: ``gsm8k:test.jsonl``."""


PATH_FIELDS: dict[tuple[str, str], Callable[[str], bool]] = {
    ("data", "train"): _is_data_file,
    ("data", "validation"): _is_data_file,
    ("model", "chat_template"): _is_template_file,
    ("model", "name"): _is_model_folder,
    ("adapter", "merge_first"): _is_adapter_folder,
    ("adapter", "source"): _is_adapter_folder,
    ("evaluate", "tasks"): _is_task_file,
    ("evaluate", "during"): _is_task_file,
}


def _absolute(text: str, base: Path) -> str:
    # normpath, not Path.resolve(): a symlinked data folder keeps the name its owner gave it.
    return os.path.normpath(base / Path(text).expanduser())


def _absolute_task(text: str, base: Path) -> str:
    named = _LAYOUT_AND_FILE.match(text)
    return named["layout"] + _absolute(named["file"], base) if named else _absolute(text, base)
