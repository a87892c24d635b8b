"""What differs between runs, from the plain contents of their files: recipe values, and the data they learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

# Where a run is kept says nothing about what it does.
NO_DIFFERENCE = {"run.name", "run.folder", "run.sinks"}


class Difference(NamedTuple):
    """A value that is not the same in all runs; None where a run has no such value."""

    name: str
    values: tuple[Any, ...]


def leaves(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"train": {"epochs": 1}}`` → ``{"train.epochs": 1}``; empty mappings are values."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= leaves(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def differing_leaves(recipes: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Leaves of recipes that differ, in the order of the first recipe that has them; an empty mapping has none."""
    flat = [{name: value for name, value in leaves(recipe).items() if value != {}} for recipe in recipes]
    names = dict.fromkeys(name for one in flat for name in one if name not in NO_DIFFERENCE)
    rows = [Difference(name, tuple(one.get(name) for one in flat)) for name in names]
    return [row for row in rows if any(value != row.values[0] for value in row.values)]


def data_differences(reports: Sequence[Mapping[str, Any] | None]) -> list[Difference]:
    """Facts of data.json that differ: which files, how many rows and tokens, the hash of all tokens."""
    facts = [_data_facts(report) for report in reports]
    names = dict.fromkeys(name for one in facts for name in one)
    rows = [Difference(name, tuple(one.get(name) for one in facts)) for name in names]
    return [row for row in rows if any(value != row.values[0] for value in row.values)]


def _data_facts(report: Mapping[str, Any] | None) -> dict[str, Any]:
    if report is None:
        return {}
    facts: dict[str, Any] = {"fingerprint": str(report["fingerprint"])[:12]}
    for key, name in (("files", "files"), ("validation_files", "validation files")):
        facts[name] = ", ".join(f"{_last_part(f['path'])} ({str(f['sha256'])[:8]})" for f in report[key])
    for side in ("train", "validation"):
        for key, name in (("num_rows", "rows"), ("num_tokens", "tokens"), ("num_supervised_tokens", "trained tokens")):
            facts[f"{side} {name}"] = report[side][key]
    facts["longest row allowed"] = report["max_length"]
    return facts


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
