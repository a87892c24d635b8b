"""Whether the comparison with the live model fits into memory: looked at before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

from luthier.errors import ResourceError
from luthier.export.agreement import LOGIT_BYTES
from luthier.units import format_bytes

_FP32_BYTES = 4
_SPARE = 1.1


def available_bytes() -> int | None:
    """Memory that can be had without swapping; all there is where the system does not say; None where it says nothing."""
    facts = Path("/proc/meminfo")
    if facts.is_file():
        for line in facts.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def require_memory(num_parameters: int) -> None:
    """Raise where one model in fp32 and two sets of logits do not fit.

    Raises:
        ResourceError: They do not.
    """
    need = int(_SPARE * _FP32_BYTES * num_parameters) + 2 * LOGIT_BYTES
    free = available_bytes()
    if free is not None and free < need:
        raise ResourceError(
            f"Comparing the export with the live model takes {format_bytes(need)} of memory (fp32, one model after the other); "
            f"{format_bytes(free)} are free. Export with --no-verify, and compare elsewhere: luthier export --check DIR."
        )
