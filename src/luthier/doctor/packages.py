"""Packages: what Luthier's own metadata ask for, what is installed, and which installed packages do not go together.

Nothing is imported: versions and requirements are read from the packages' metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from luthier.doctor.item import Item

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OPTIONAL = {
    "bitsandbytes": ("bitsandbytes", "4-bit weights and 8-bit optimisers (CUDA, CPU; not Apple silicon)"),
    "flash-attn": (
        "flash-attn --no-build-isolation",
        "FlashAttention 2 by its own package; torch's is used without it",
    ),
    "trackio": ("'luthier[trackio]'", "metrics to trackio"),
    "wandb": ("'luthier[wandb]'", "metrics to wandb"),
    "tensorboard": ("'luthier[tensorboard]'", "metrics to tensorboard"),
    "mlflow-skinny": ("'luthier[mlflow]'", "metrics to mlflow"),
}
"""Packages that Luthier runs without: what pip is told, and what they bring."""


@dataclass(frozen=True)
class Installed:
    """An installed package: its version and what it asks of others."""

    name: str
    version: str
    requires: tuple[str, ...] = ()


def installed_packages() -> dict[str, Installed]:
    """All of this Python, by canonical name; of two with one name, the one that is imported."""
    found: dict[str, Installed] = {}
    for one in metadata.distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(canonicalize_name(name), Installed(name, one.version, tuple(one.requires or ())))
    return found


def applicable(requirements: Iterable[str]) -> list[Requirement]:
    """Those that hold for this Python and platform, without extras."""
    chosen: list[Requirement] = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:  # very old metadata; what cannot be read cannot be held against anybody
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            chosen.append(requirement)
    return chosen


def package_items(wanted: Iterable[str], installed: Mapping[str, Installed]) -> list[Item]:
    """A verdict on each package that is wanted, on pairs that do not go together, and on what is optional.

    Args:
        wanted: Requirements, as Luthier's metadata have them.
        installed: By canonical name.
    """
    requirements = applicable(wanted)
    items = [_verdict(requirement, installed) for requirement in requirements]
    ours = {canonicalize_name(r.name) for r in requirements} | {canonicalize_name(name) for name in OPTIONAL}
    items += _pairs(sorted(name for name in ours if name in installed), installed)
    for name, (pip, brings) in OPTIONAL.items():
        package = installed.get(canonicalize_name(name))
        found = package.version if package else f"not installed (optional): {brings}"
        mend = "" if package else f"pip install {pip}"
        items.append(Item("packages", name, "good" if package else "note", found, mend))
    return items


def _verdict(requirement: Requirement, installed: Mapping[str, Installed]) -> Item:
    mend = f"pip install '{requirement.name}{requirement.specifier}'"
    package = installed.get(canonicalize_name(requirement.name))
    if package is None:
        return Item("packages", requirement.name, "failed", f"missing; needed: {requirement.specifier}", mend)
    if requirement.specifier.contains(package.version, prereleases=True):
        return Item("packages", requirement.name, "good", package.version)
    what = _age(package.version, requirement)
    return Item("packages", requirement.name, "failed", f"{package.version} is {what}: {requirement.specifier}", mend)


def _age(version: str, requirement: Requirement) -> str:
    """Too old where a lower bound is not reached, else newer than what is tested."""
    try:
        have = Version(version)
    except InvalidVersion:
        return "not a version that can be compared"
    lower = [Version(s.version) for s in requirement.specifier if s.operator in (">=", ">", "~=")]
    return "too old" if any(have < bound for bound in lower) else "outside of what Luthier is tested with"


def _pairs(names: Iterable[str], installed: Mapping[str, Installed]) -> list[Item]:
    """What installed packages ask of each other and do not get."""
    items: list[Item] = []
    for name in names:
        package = installed[name]
        for requirement in applicable(package.requires):
            other = installed.get(canonicalize_name(requirement.name))
            needs = f"{package.name} {package.version} needs {requirement.name}{requirement.specifier}"
            mend = f"pip install '{requirement.name}{requirement.specifier}'"
            if other is None:
                items.append(
                    Item("packages", f"{name} + {requirement.name}", "failed", f"{needs}, which is missing", mend)
                )
            elif not requirement.specifier.contains(other.version, prereleases=True):
                found = f"incompatible pair: {needs}, and {other.version} is installed"
                items.append(Item("packages", f"{name} + {other.name}", "failed", found, mend))
    return items


def mending_command(items: Iterable[Item]) -> str:
    """One command for all packages that failed; empty where none did."""
    parts = [item.mend.removeprefix("pip install ") for item in items if item.status == "failed"]
    parts = list(dict.fromkeys(part for part in parts if part))
    return f"pip install {' '.join(parts)}" if parts else ""
