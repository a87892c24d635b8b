"""The advice as a recipe file: each value with the rule that chose it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.advise.method import Setting
from luthier.config.yaml_source import write_value


def recipe_text(
    path: Path,
    *,
    model: str,
    data: Sequence[str],
    format: str,
    columns: Mapping[str, str],
    objective: str,
    parameters: str,
    settings: Sequence[Setting],
    fitting: Sequence[str],
    tasks: Sequence[str],
) -> str:
    """The file.

    Args:
        path: Where it will lie; relative paths in it start there.
        fitting: Overrides (``train.gradient_checkpointing=true``) without which the plan does not fit the card.
        tasks: Evaluation tasks.
    """
    rows: dict[str, dict[str, tuple[str, str]]] = {
        "model": {"name": (write_value(model), "")},
        "data": {"train": (write_value([_from(path, name) for name in data]), "")},
        "objective": {},
        "adapter": {"kind": ("none" if parameters == "full" else "lora", f"method.{parameters}")},
        "precision": {},
        "train": {},
        "evaluate": {},
        "run": {"name": (write_value(path.stem), "")},
    }
    if objective != "sft":
        rows["objective"]["name"] = (objective, "the first stage of the method")
    if parameters == "qlora":
        rows["precision"]["base"] = ("nf4", "method.qlora")
    if format != "auto":
        rows["data"]["format"] = (write_value(format), "as you said")
    if columns:
        rows["data"]["columns"] = (write_value(dict(columns)), "as you said")
    for setting in settings:
        _put(rows, setting.name, write_value(setting.value), setting.rule)
    for override in fitting:
        name, _, value = override.partition("=")
        _put(rows, name, value, "luthier plan: without it the memory does not suffice")
    if tasks:
        rows["evaluate"]["tasks"] = (write_value([_from(path, name) for name in tasks]), "")
    lines = [
        "# Made by luthier advise; the comment behind a value names the rule that chose it: luthier advise --rules",
        f"# Check it: luthier recipe check {path.name}     Run it: luthier train {path.name}",
    ]
    for section, values in rows.items():
        if values:
            lines += ["", f"{section}:", *(_line(name, *value) for name, value in values.items())]
    return "\n".join(lines) + "\n"


def _put(rows: dict[str, dict[str, Any]], dotted: str, value: str, why: str) -> None:
    section, _, name = dotted.partition(".")
    rows.setdefault(section, {})[name] = (value, why)


def _line(name: str, value: str, why: str) -> str:
    return f"  {name}: {value}{f'   # {why}' if why else ''}"


def _from(recipe: Path, name: str) -> str:
    """A path as the recipe has to name it; generated data and the hub's, and built-in tasks, stay as they are."""
    if name.startswith(("demo:", "hub:")) or (
        not Path(name).expanduser().exists() and not any(c in name for c in "*?[")
    ):
        return name
    return os.path.relpath(Path(name).expanduser().absolute(), recipe.absolute().parent)
