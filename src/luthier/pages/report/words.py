"""Numbers and texts as the report shows them."""

from __future__ import annotations

import html
import json
import math
import re
from typing import Any

LONGEST_TEXT = 1200
NO_BREAK, THIN_NO_BREAK = "\u00a0", "\u202f"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float, decimals: int = 0) -> str:
    """``0.712`` → ``71 %``; a share that is not 0 or 1 never rounds to it."""
    value = 100 * share
    if decimals == 0 and ((0 < value < 0.5) or (99.5 <= value < 100)):
        decimals = 1
    return f"{value:.{decimals}f}{NO_BREAK}%"


def points(difference: float, decimals: int = 0) -> str:
    """``0.7`` → ``+70``, in hundredths of the score; a difference that is not 0 never rounds to it."""
    value = 100 * difference
    if decimals == 0 and 0 < abs(value) < 0.5:
        decimals = 1
    return f"{value:+.{decimals}f}".replace("-", "−")


def interval_points(low: float, high: float, decimals: int = 0) -> str:
    """``61…78``, or with signs where it does not lie above zero."""
    if low >= 0:
        return f"{points(low, decimals)[1:]}…{points(high, decimals)[1:]}"
    return f"{points(low, decimals)}…{points(high, decimals)}"


def number(value: float) -> str:
    """Four significant digits: ``0.0002``, ``12.35``, ``1 234 567``; below 0.0001 with an exponent: ``2.3 × 10⁻⁷``."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", THIN_NO_BREAK).replace("-", "−")
    if abs(value) >= 10_000:
        return f"{value:,.0f}".replace(",", THIN_NO_BREAK).replace("-", "−")
    if abs(value) < 1e-4:
        mantissa, exponent = f"{value:.2e}".split("e")
        shown = mantissa.rstrip("0").rstrip(".").replace("-", "−")
        return f"{shown}{NO_BREAK}×{NO_BREAK}10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return f"{value:.4g}".replace("-", "−")


def text_of(value: Any) -> str:
    """Any JSON value as text: words as they are, numbers rounded, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int | float):
        return number(value)
    return json.dumps(value, ensure_ascii=False)


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text with its middle left out where it is very long, and how much that is."""
    if len(text) <= longest:
        return text
    head, tail = longest * 2 // 3, longest // 3
    left_out = len(text) - head - tail
    return f"{text[:head]} […{left_out} characters left out…] {text[-tail:]}"


_LINE_BREAKS = re.compile(r"(?:[ \t]*\n){4,}")


def answer_text(text: str, longest: int = LONGEST_TEXT) -> str:
    """An answer as shown; one that shows nothing is described in words, and so are many empty lines in a row."""
    if text.strip():
        return shortened(_LINE_BREAKS.sub(lambda found: f"\n(⏎ × {found[0].count(chr(10))})\n", text), longest).lstrip(
            "\n"
        )
    return f"(nothing but {len(text)} characters of white space)" if text else "(empty answer)"


def page_bytes(*texts: str) -> int:
    """Room that texts take in the page, escaped."""
    return sum(len(html.escape(text).encode()) for text in texts)
