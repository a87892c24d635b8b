"""Memory of the device that trains: what this process has used at most, and what there is."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch


def peak_memory_bytes(device: torch.device) -> int:
    """Highest use so far (CUDA: allocated tensors; MPS: driver's present figure; CPU: the process's resident set)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes() -> int:
    """What this process holds in memory now; where the system does not say, the most that it has held."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory_bytes(torch.device("cpu"))


def total_memory_bytes(device: torch.device) -> int:
    """Memory that the device has (CPU: the machine's, or the control group's where that is less)."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        return min(machine, int(text))
    return machine


def available_memory_bytes(device: torch.device, *, whole: bool = False) -> int:
    """Memory that a training could still take.

    Args:
        whole: What the device has, whoever uses it now: the same for every process.
    """
    if whole:
        return total_memory_bytes(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min(_available_in_machine(), _available_in_group())


def _available_in_machine() -> int:
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return total_memory_bytes(torch.device("cpu")) - resident_bytes()


def _available_in_group() -> int:
    """What the control group leaves; cached files count as free."""
    group = Path("/sys/fs/cgroup")
    limit, used = group / "memory.max", group / "memory.current"
    if not (limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdigit()):
        return sys.maxsize
    rows = (line.split() for line in (group / "memory.stat").read_text().splitlines())
    cached = sum(int(value) for name, value in rows if name in ("inactive_file", "active_file"))
    return int(text) - int(used.read_text()) + cached
