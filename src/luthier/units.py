"""How numbers are shown to people: bytes, tokens, seconds, shares. Pure functions, no rounding of stored values."""

from __future__ import annotations

GIB = 1024**3
MIB = 1024**2


def format_bytes(num_bytes: float) -> str:
    """``1536`` → ``1.5 KiB``; binary units, as memory is sold and measured."""
    value = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """``75`` → ``1 min 15 s``; below ten seconds with one decimal."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_age(seconds: float) -> str:
    """``7500`` → ``2 h``: how long ago, in the largest unit."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


def format_count(number: float) -> str:
    """``134515008`` → ``134.5M``."""
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.1f}{suffix}"
    return f"{number:.0f}"


def format_share(share: float) -> str:
    """``0.6512`` → ``65.1 %``."""
    return f"{100 * share:.1f} %"


def format_score(value: float, *, is_share: bool) -> str:
    """A score as people read it: a share in percent, anything else with four digits."""
    return format_share(value) if is_share else f"{value:.4g}"
