"""Dotted overrides: ``train.learning_rate=1e-4`` puts one value into a recipe's data before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from luthier.config.yaml_source import KeyPath, read_yaml


def apply_overrides(data: dict[str, Any], overrides: Sequence[str], places: dict[KeyPath, str]) -> list[str]:
    """Put the overrides into `data`, in order, and note in `places` where each value now comes from.

    Returns:
        The problems of overrides that cannot be read or do not fit the data.
    """
    problems: list[str] = []
    for override in overrides:
        place = f"override '{override}'"
        name, equals, text = override.partition("=")
        keys = tuple(part.strip() for part in name.split("."))
        if not equals or not all(keys):
            problems.append(f"{place}: an override is a dotted key, '=' and a value, such as train.learning_rate=1e-4.")
            continue
        source = read_yaml(text)
        if source.problems:
            problems.extend(f"{place}: the value is {words}" for _, words in source.problems)
            continue
        new = [keys[:depth] for depth in range(1, len(keys)) if not _has(data, keys[:depth])]
        conflict = _put(data, keys, source.data)
        if conflict:
            problems.append(f"{place}: '{conflict}' is a value, not a section; it has no key below it.")
            continue
        for path in [p for p in places if p[: len(keys)] == keys]:
            del places[path]
        places.update(dict.fromkeys([*new, keys], place))
    return problems


def _has(data: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(data, dict) or key not in data:
            return False
        data = cast("dict[str, Any]", data)[key]
    return True


def _put(data: dict[str, Any], keys: tuple[str, ...], value: Any) -> str | None:
    """Set the value; returns the dotted key that stands in the way, if one does."""
    section: Any = data
    for depth, key in enumerate(keys[:-1]):
        below = section.get(key)
        if below is None:
            below = section[key] = {}
        if not isinstance(below, dict):
            return ".".join(keys[: depth + 1])
        section = cast("dict[str, Any]", below)
    section[keys[-1]] = value
    return None
