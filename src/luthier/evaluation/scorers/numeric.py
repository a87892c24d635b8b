r"""Right if the number in the answer is the reference's. Built for worked solutions (GSM8K) as much as for bare numbers.

Which number of an answer counts, in this order: the first after the last ``####`` (GSM8K's mark); what stands in the last
``\boxed{}``; the first after the last "answer is" or "answer:"; the last number of all.

How numbers are read: 1,234.5 and 1 234 567 (thousands separators only between groups of three digits), 3/4 and 1 1/2
(fractions), 2.5e3, 45 % (equal to 45 and to 0.45), a minus sign of any kind, currency signs and units ignored.
A decimal comma is not known: "12,50" is read as two numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from luthier.evaluation.protocol import Score, Scorer, TaskRow

RELATIVE_TOLERANCE = 1e-6
"""What decimal notation alone may cost: 0.333333 is 1/3."""

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?![,\d])|\d{1,3}(?:[\u00a0\u202f ]\d{3})+(?!\d)|\d+)"
_PLAIN = rf"(?:{_DIGITS}(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d{{1,3}}(?![\w.]))?"
_NUMBER = re.compile(
    rf"(?P<sign>(?<![\w)\]])[-−–](?=[$€£¥.\d]))?(?:[$€£¥]\s?)?"
    rf"(?:(?P<whole>\d+)\s+(?P<over>\d+)/(?P<under>\d+)|(?P<top>{_PLAIN})\s?/\s?(?P<bottom>{_PLAIN})|(?P<plain>{_PLAIN}))"
    r"(?P<percent>\s?%)?"
)
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]+)\}\s*\{([^{}]+)\}")
_ANNOUNCED = re.compile(r"answer(?:\s+is\b|\s*[:=])", re.IGNORECASE)


class Number(NamedTuple):
    """A number as it was read."""

    value: float
    is_percent: bool
    text: str


class Numeric(Scorer):
    """Compares numbers.

    Args:
        tolerance: Difference that still counts as equal, in the numbers' own unit.
    """

    name = "numeric"
    metric = "accuracy"

    def __init__(self, *, tolerance: float = 0.0) -> None:
        self._tolerance = tolerance

    def reference_problem(self, reference: Any) -> str:
        """There must be a number in it."""
        if isinstance(reference, bool) or find_number(str(reference)) is None:
            return f"there is no number in {str(reference)[:80]!r}"
        return ""

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where the numbers are equal."""
        wanted, found = find_number(str(row.reference)), find_number(answer)
        if wanted is None:
            return Score(0.0, "the reference holds no number")
        if found is None:
            return Score(0.0, "the answer holds no number" if answer.strip() else "the answer is empty")
        if same_number(found, wanted, self._tolerance):
            return Score(1.0, f"{found.text} equals {wanted.text}", found.text)
        return Score(0.0, f"{found.text} instead of {wanted.text}", found.text)


def find_number(text: str) -> Number | None:
    """The number that an answer gives; None where there is none."""
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    if "####" in text and (marked := next(numbers_in(text.rpartition("####")[2]), None)):
        return marked
    boxes = _BOXED.findall(text)
    if boxes and (boxed := _last(numbers_in(boxes[-1]))):
        return boxed
    announcements = list(_ANNOUNCED.finditer(text))
    if announcements and (announced := next(numbers_in(text[announcements[-1].end() :]), None)):
        return announced
    return _last(numbers_in(text))


def numbers_in(text: str) -> Iterator[Number]:
    """All numbers, in order."""
    for match in _NUMBER.finditer(text):
        value = _value(match)
        if value is None or not math.isfinite(value):
            continue
        yield Number(-value if match["sign"] else value, match["percent"] is not None, match.group().strip())


def _value(match: re.Match[str]) -> float | None:
    if match["whole"] is not None:
        below = float(match["under"])
        return float(match["whole"]) + float(match["over"]) / below if below else None
    if match["top"] is not None:
        below = _plain(match["bottom"])
        return _plain(match["top"]) / below if below else None
    return _plain(match["plain"])


def _plain(digits: str) -> float:
    return float(re.sub(r"[,\s\u00a0\u202f]", "", digits))


def _last(numbers: Iterator[Number]) -> Number | None:
    return next(reversed(list(numbers)), None)


def same_number(a: Number, b: Number, tolerance: float = 0.0) -> bool:
    """Whether two numbers are equal; one percent sign may stand for a hundredth or be a unit that the other leaves out."""
    pairs = [(a.value, b.value)]
    if a.is_percent != b.is_percent:
        pairs.append((a.value / 100 if a.is_percent else a.value, b.value / 100 if b.is_percent else b.value))
    return any(math.isclose(x, y, rel_tol=RELATIVE_TOLERANCE, abs_tol=max(tolerance, 1e-9)) for x, y in pairs)
