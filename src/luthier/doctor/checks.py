"""Verdicts on the facts of `probe`: what is fit for training, what is worth knowing, what has to be mended and how."""

from __future__ import annotations

from collections.abc import Iterable

from luthier.doctor.item import Item, Status
from luthier.doctor.packages import CPU_INDEX
from luthier.doctor.probe import Accelerators, CacheFolder, Card, Disk, Reach, System
from luthier.units import GIB, format_bytes, format_seconds

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
LEAST_MEMORY_BYTES = 4 * GIB
SOME_DISK_BYTES, LEAST_DISK_BYTES = 10 * GIB, GIB


def check_system(system: System) -> list[Item]:
    """Python, processor, memory."""
    major, minor = (int(part) for part in system.python.split(".")[:2])
    fits = OLDEST_PYTHON <= (major, minor) <= NEWEST_PYTHON
    items = [
        Item(
            "machine",
            "python",
            "good" if fits else "failed",
            f"{system.python} ({system.executable})",
            "" if fits else "Make an environment with Python 3.11 to 3.14: python3.13 -m venv .venv",
        ),
        Item("machine", "system", "good", system.system),
    ]
    if not system.in_environment:
        items.append(
            Item(
                "machine",
                "environment",
                "note",
                "this Python is the system's own: other programs share its packages",
                "python3 -m venv .venv && source .venv/bin/activate",
            )
        )
    bf16 = "bf16 in hardware" if system.fast_bf16 else "no fast bf16: a training on it computes in fp32"
    items.append(Item("machine", "cpu", "good", f"{system.processor}, {_cores(system)}, {bf16}"))
    items.append(_memory(system))
    return items


def _cores(system: System) -> str:
    if system.usable_cores < system.cores:
        return f"{system.usable_cores} of {system.cores} cores usable"
    return f"{system.cores} cores"


def _memory(system: System) -> Item:
    free = "" if system.available_bytes is None else f", {format_bytes(system.available_bytes)} free now"
    found = f"{format_bytes(system.memory_bytes)}{free}"
    if system.memory_bytes < LEAST_MEMORY_BYTES:
        return Item("machine", "memory", "failed", found, "Give the machine or container at least 4 GiB.")
    low = system.available_bytes is not None and system.available_bytes < LEAST_MEMORY_BYTES / 2
    return Item("machine", "memory", "note" if low else "good", found, "Close other programs." if low else "")


def check_disks(disks: Iterable[Disk]) -> list[Item]:
    """Room for runs and models."""
    items: list[Item] = []
    for disk in disks:
        status: Status = "good"
        mend = ""
        if not disk.writable:
            status, mend = "failed", f"Make {disk.folder} writable, or set {_variable(disk.purpose)} to another folder."
        elif disk.free_bytes < SOME_DISK_BYTES:
            status = "failed" if disk.free_bytes < LEAST_DISK_BYTES else "note"
            mend = f"Free some space, or set {_variable(disk.purpose)} to another disk."
        found = f"{format_bytes(disk.free_bytes)} free at {disk.folder}"
        items.append(Item("machine", f"disk: {disk.purpose}", status, found, mend))
    return items


def _variable(purpose: str) -> str:
    return {"cache": "LUTHIER_CACHE", "hub cache": "HF_HOME"}.get(purpose, "run.folder in the recipe")


def check_accelerators(seen: Accelerators, system: str) -> list[Item]:
    """Driver against runtime, and every card."""
    items = [_driver(seen, system)]
    items += [_card(index, card) for index, card in enumerate(seen.cards)]
    if seen.cards_fault:
        items.append(
            Item("gpu", "cards", "failed", f"torch: {seen.cards_fault}", "End other programs on the card: nvidia-smi")
        )
    if seen.mps:
        limit = format_bytes(seen.mps_limit_bytes or 0)
        found = f"Apple Metal, up to {limit}; no bitsandbytes (4-bit, 8-bit optimisers), no fp8, no FlashAttention"
        items.append(Item("gpu", "mps", "good", found))
    elif "Darwin" in system:
        items.append(
            Item("gpu", "mps", "note", "torch has no Metal here: training runs on the CPU", "macOS 14 or later has it.")
        )
    return items


def _driver(seen: Accelerators, system: str) -> Item:
    runtime = f"torch for CUDA {seen.torch_cuda}" if seen.torch_cuda else "torch without CUDA"
    if seen.driver_fault:
        mend = "Install the driver again or restart: a driver and its kernel module of different versions do this."
        return Item("gpu", "cuda", "failed", f"nvidia-smi does not work: {seen.driver_fault}", mend)
    if seen.driver is None and not seen.cards:
        mend = f"pip install torch --index-url {CPU_INDEX}" if seen.torch_cuda and "Linux" in system else ""
        found = f"no NVIDIA driver ({runtime}); training runs on {'Metal' if seen.mps else 'the CPU'}"
        return Item("gpu", "cuda", "note", f"{found}{': gigabytes of CUDA lie unused' if mend else ''}", mend)
    found = f"driver {seen.driver or '?'} (CUDA up to {seen.driver_cuda or '?'}), {runtime}"
    if seen.torch_cuda is None:
        version = seen.driver_cuda or "12.6"
        index = f"https://download.pytorch.org/whl/cu{_wheel(version)}"
        return Item(
            "gpu",
            "cuda",
            "failed",
            f"{found}: the card lies idle",
            f"pip install --force-reinstall torch --index-url {index}",
        )
    if seen.driver_cuda and _major(seen.torch_cuda) > _major(seen.driver_cuda):
        mend = f"Update the NVIDIA driver, or: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu{_wheel(seen.driver_cuda)}"
        return Item("gpu", "cuda", "failed", f"incompatible pair: {found}", mend)
    if not seen.cards and not seen.cards_fault:
        mend = "Unset CUDA_VISIBLE_DEVICES, or start the container with --gpus all."
        return Item("gpu", "cuda", "failed", f"{found}, but torch sees no card", mend)
    return Item("gpu", "cuda", "good", found)


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _wheel(cuda: str) -> str:
    """The newest index of PyTorch that a driver's CUDA runs: minor versions within one major are compatible."""
    return {11: "118", 12: "126"}.get(_major(cuda), "130")


def _card(index: int, card: Card) -> Item:
    can = [name for name, there in (("bf16", card.bf16), ("fp8", card.fp8)) if there]
    cannot = [name for name in ("bf16", "fp8") if name not in can]
    words = "; ".join([", ".join(can) or "fp16", *(f"no {name}" for name in cannot)])
    found = (
        f"{card.name}, {format_bytes(card.total_bytes)}, {format_bytes(card.free_bytes)} free, "
        f"compute capability {card.capability[0]}.{card.capability[1]}, {words}"
    )
    busy = card.free_bytes < 0.8 * card.total_bytes
    mend = "Another program holds memory of this card; nvidia-smi names it." if busy else ""
    return Item("gpu", f"card {index}", "note" if busy else "good", found, mend)


def check_network(reached: Iterable[Reach]) -> list[Item]:
    """Hosts that models and packages come from. Nothing that is on the disk needs them, so none fails."""
    items: list[Item] = []
    for one in reached:
        if one.fault:
            mend = "Check network and proxy (HTTPS_PROXY); a mirror of the hub: HF_ENDPOINT. Or work offline with local models."
            items.append(Item("network", one.host, "note", f"out of reach: {one.fault}", mend, one.seconds))
        else:
            items.append(
                Item("network", one.host, "good", f"answers in {format_seconds(one.seconds)}", "", one.seconds)
            )
    return items


def check_caches(caches: Iterable[CacheFolder]) -> list[Item]:
    """What lies ready."""
    items: list[Item] = []
    for cache in caches:
        ready = f"{len(cache.models)} models ready" if len(cache.models) != 1 else f"{cache.models[0]} ready"
        mend = "" if cache.models or cache.name != "luthier" else "luthier models fetch smollm2-135m-instruct"
        items.append(
            Item(
                "caches",
                cache.name,
                "note" if mend else "good",
                f"{format_bytes(cache.num_bytes)} in {cache.folder}, {ready}",
                mend,
            )
        )
    return items
