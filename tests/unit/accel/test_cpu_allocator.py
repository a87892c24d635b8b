"""Memory that is freed on a CPU stays with the process, unless its user decided otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, torch
from luthier.accel.cpu_allocator import keep_freed_memory
kept = keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**20)  # 4 MiB: above glibc's usual threshold
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def kept_and_faults(**environment: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env={"OMP_NUM_THREADS": "1", **environment},
    )
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_pages_are_taken_once_and_not_for_every_tensor() -> None:
    kept, few = kept_and_faults()
    left, many = kept_and_faults(MALLOC_TRIM_THRESHOLD_="131072")
    assert (kept, left) == (True, False)
    assert few < 1024 < 20 * 512 < many  # 4 MiB are 1,024 pages
