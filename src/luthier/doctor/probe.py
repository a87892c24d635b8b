"""Facts about this machine, without verdicts: processor, memory, disks, cards, network, caches. Torch is imported inside."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from luthier.compat import cpu_has_fast_bf16
from luthier.data.cache import cache_folder
from luthier.models.builtin import cached
from luthier.plan.hardware import find_hardware
from luthier.plan.locate import hub_cache
from luthier.units import GIB

MOST_FILES_COUNTED = 200_000


@dataclass(frozen=True)
class System:
    """Python, system and processor.

    Attributes:
        usable_cores: That this process may run on; fewer than `cores` in a container or under taskset.
        memory_bytes: The machine's, or the container's limit.
        available_bytes: Free now; None where the system does not say.
    """

    python: str
    executable: str
    in_environment: bool
    system: str
    processor: str
    cores: int
    usable_cores: int
    fast_bf16: bool
    memory_bytes: float
    available_bytes: float | None


@dataclass(frozen=True)
class Disk:
    """The disk that a folder lies on; `writable` is found by asking, not by writing."""

    purpose: str
    folder: Path
    free_bytes: int
    writable: bool


@dataclass(frozen=True)
class Card:
    """A CUDA card as torch sees it."""

    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int]

    @property
    def bf16(self) -> bool:
        """Ampere and later compute it."""
        return self.capability >= (8, 0)

    @property
    def fp8(self) -> bool:
        """Ada and later compute it."""
        return self.capability >= (8, 9)


@dataclass(frozen=True)
class Accelerators:
    """Drivers, runtimes and cards.

    Attributes:
        driver: Version of the NVIDIA driver; None where there is no nvidia-smi.
        driver_cuda: Newest CUDA that the driver runs, e.g. "12.4".
        driver_fault: Why nvidia-smi failed; empty where it did not.
        torch_cuda: CUDA that torch was built for; None for a CPU build.
        mps_limit_bytes: What Metal recommends to use at most.
    """

    driver: str | None
    driver_cuda: str | None
    driver_fault: str
    torch_cuda: str | None
    cards: tuple[Card, ...]
    cards_fault: str
    mps: bool
    mps_limit_bytes: int | None


@dataclass(frozen=True)
class Reach:
    """Whether a host answered; `fault` is empty where it did."""

    host: str
    seconds: float
    fault: str


@dataclass(frozen=True)
class CacheFolder:
    """A cache: where, how much is in it, how many models are ready."""

    name: str
    folder: Path
    num_bytes: int
    models: tuple[str, ...]


def look_at_system() -> System:
    """Python, processor, memory."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return System(
        python=platform.python_version(),
        executable=sys.executable,
        in_environment=sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        usable_cores=usable,
        fast_bf16=cpu_has_fast_bf16(),
        memory_bytes=find_hardware("cpu").memory_gib * GIB,
        available_bytes=_available_bytes(),
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _available_bytes() -> float | None:
    info = Path("/proc/meminfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    return None


def look_at_disks(run_folder: Path) -> list[Disk]:
    """Disks of runs, of Luthier's cache and of the hub's."""
    places = {"runs": run_folder, "cache": cache_folder(), "hub cache": hub_cache()}
    return [_disk(purpose, folder) for purpose, folder in places.items()]


def _disk(purpose: str, folder: Path) -> Disk:
    there = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    return Disk(purpose, folder, shutil.disk_usage(there).free, os.access(there, os.W_OK))


def look_at_accelerators() -> Accelerators:
    """CUDA and Metal, as the driver and as torch see them."""
    import torch

    driver, driver_cuda, fault = _nvidia_driver()
    cards, cards_fault = _cards()
    mps = torch.backends.mps.is_available()
    return Accelerators(
        driver=driver,
        driver_cuda=driver_cuda,
        driver_fault=fault,
        torch_cuda=torch.version.cuda,
        cards=cards,
        cards_fault=cards_fault,
        mps=mps,
        mps_limit_bytes=int(torch.mps.recommended_max_memory()) if mps else None,
    )


def _nvidia_driver() -> tuple[str | None, str | None, str]:
    """Version, newest CUDA, fault."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, None, ""
    try:
        done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=15)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, None, f"{type(error).__name__}: {error}"
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()
        return None, None, lines[0] if lines else f"it ended with {done.returncode}"
    return _after(done.stdout, "Driver Version:"), _after(done.stdout, "CUDA Version:"), ""


def _after(text: str, label: str) -> str | None:
    rest = text.partition(label)[2].split()
    return rest[0] if rest else None


def _cards() -> tuple[tuple[Card, ...], str]:
    import torch

    if not torch.cuda.is_available():
        return (), ""
    cards: list[Card] = []
    try:
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            major, minor = torch.cuda.get_device_capability(index)
            cards.append(Card(torch.cuda.get_device_name(index), total, free, (major, minor)))
    except RuntimeError as error:  # a card in use by one process alone, or out of order
        return tuple(cards), str(error).strip().splitlines()[0]
    return tuple(cards), ""


def hub_address() -> str:
    """Where hub clients look: the hub, or a mirror of it."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def reach(url: str, timeout_seconds: float = 4.0) -> Reach:
    """Ask a host for its headers."""
    host, began = url.split("/")[2], time.perf_counter()
    fault = ""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=timeout_seconds):
            pass
    except urllib.error.HTTPError:  # it answered, and that is what was asked
        pass
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or error
        fault = str(reason) or type(error).__name__
    return Reach(host, time.perf_counter() - began, fault)


def look_at_caches() -> list[CacheFolder]:
    """Luthier's own cache and the hub's."""
    hub = hub_cache()
    models = tuple(sorted(p.name[8:].replace("--", "/") for p in hub.glob("models--*"))) if hub.is_dir() else ()
    return [
        CacheFolder("luthier", cache_folder(), _size(cache_folder()), tuple(cached())),
        CacheFolder("hub", hub, _size(hub), models),
    ]


def _size(folder: Path) -> int:
    """Bytes of all files, links not followed; of very many files only the first are counted."""
    total = 0
    counted = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            counted += 1
            if counted > MOST_FILES_COUNTED:
                return total
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                total += os.path.getsize(path) if os.path.exists(path) else 0
    return total
