"""How the C library treats freed memory while a model trains on a CPU.

glibc gives blocks from 128 KiB on back to the system as soon as they are free and takes new ones for the next tensor; every
page of those is then cleared and mapped again, thousands of times a second. Told to keep them, it takes them from the heap.
Other C libraries (macOS, musl, Windows) are left alone, and so is a process whose user has set MALLOC_* variables.
"""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
LARGEST_FROM_HEAP_BYTES = 32 * 1024**2
"""glibc allows no more; larger tensors (logits, weights) still come from the system one by one."""


def keep_freed_memory() -> bool:
    """Let freed blocks stay with this process; returns whether the C library took it. Results do not change."""
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    libc = ctypes.CDLL(None)
    settings = (
        (_M_MMAP_THRESHOLD, LARGEST_FROM_HEAP_BYTES),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 64 * 1024**2),
    )
    return all(libc.mallopt(name, value) == 1 for name, value in settings)


def return_freed_memory() -> None:
    """Give back to the system what is free inside the heap; for when there is too little. Taking it again costs page faults."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
