"""Devices from hardware.yaml: memory, peak rates and the share of them that training reaches; and which one this machine has."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from luthier.errors import ResourceError
from luthier.plan.engine import Device
from luthier.plan.job import Compute
from luthier.units import GIB


@dataclass(frozen=True)
class Hardware:
    """A device, or one core of a CPU with the machine's memory.

    Attributes:
        memory_gib: What it has.
        usable_share: What is left beside driver and display (CPU: beside the system).
        tflops: Peak by compute type, dense.
        bf16: Whether it computes bf16.
        flash: Whether fused attention over packed documents runs on it.
        efficiency: Share of the peak that a training step reaches.
        cores: Of a CPU; 1 for cards.
    """

    name: str
    aliases: tuple[str, ...]
    kind: Device
    memory_gib: float
    usable_share: float
    tflops: Mapping[str, float]
    bandwidth_gbs: float
    bf16: bool
    flash: bool
    efficiency: float
    efficiency_source: str
    source: str
    cores: int = 1

    @property
    def usable_bytes(self) -> float:
        """What a training may take."""
        return self.memory_gib * self.usable_share * GIB

    @property
    def compute(self) -> Compute:
        """What `precision.compute: auto` is on it."""
        if self.bf16:
            return "bf16"
        return "fp16" if self.kind == "cuda" else "fp32"

    def peak_flops(self, compute: Compute) -> float:
        """Operations a second at most; a type that it has no units for runs at fp32's rate."""
        return 1e12 * self.cores * self.tflops.get(compute, self.tflops["fp32"])


@lru_cache(maxsize=1)
def load_hardware() -> tuple[Hardware, ...]:
    """All rows."""
    text = files("luthier.plan").joinpath("hardware.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return tuple(Hardware(**{**row, "aliases": tuple(row["aliases"])}) for row in rows)


def find_hardware(name: str) -> Hardware:
    """A device by name or alias, whatever the case; ``here`` is this machine's.

    Raises:
        ResourceError: There is none by that name; says which there are.
    """
    wanted = name.strip().lower().replace(" ", "-").removeprefix("nvidia-")
    if wanted == "here":
        return this_machine()
    names = {alias.lower(): row for row in load_hardware() for alias in (row.name, *row.aliases)}
    if wanted not in names:
        near = get_close_matches(wanted, names, n=1)
        hint = f"Did you mean {names[near[0]].name}? " if near else ""
        raise ResourceError(
            f"No device '{name}' is known. {hint}There are: {', '.join(row.name for row in load_hardware())}; "
            "`here` is this machine."
        )
    found = names[wanted]
    return _with_this_memory(found) if found.kind == "cpu" else found


def this_machine() -> Hardware:
    """The first NVIDIA card that the driver lists, else the CPU with the machine's memory.

    Raises:
        ResourceError: The card is none of the table's.
    """
    card = _nvidia_card()
    if card is not None:
        return card
    return _with_this_memory(next(row for row in load_hardware() if row.name == _cpu_row()))


def _nvidia_card() -> Hardware | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=10)
    first = done.stdout.strip().splitlines()[:1]
    if done.returncode or not first:
        return None
    name, _, mebibytes = first[0].partition(",")
    memory_gib = float(mebibytes) / 1024
    words = name.lower().replace(" ", "-")
    rows = [r for r in load_hardware() if r.kind == "cuda" and any(a.lower() in words for a in (r.name, *r.aliases))]
    if not rows:
        raise ResourceError(f"This machine's card, {name}, is not in the table. Name one like it: --gpu RTX-4090")
    best = min(rows, key=lambda row: abs(row.memory_gib - memory_gib))
    return replace(best, memory_gib=memory_gib)


def _cpu_row() -> str:
    info = Path("/proc/cpuinfo")
    flags = info.read_text() if info.is_file() else ""
    if "avx512_bf16" in flags:
        return "cpu-avx512-bf16"
    return "cpu-avx512" if "avx512f" in flags else "cpu"


def _with_this_memory(row: Hardware) -> Hardware:
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if platform.system() != "Windows" else 16 * GIB
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        pages = min(pages, int(text))
    return replace(row, memory_gib=round(pages / GIB, 1), cores=os.cpu_count() or 1)
