"""Finds: preference pairs in which the chosen answer is the longer one (or the shorter one) far more often than chance.

Hurts: length is the easiest thing to learn. The model (or the reward model) learns to write long instead of well, and
the accuracy on pairs looks good all the while.
Do: drop part of the pairs in which the longer answer wins until about half are left, or use an objective that divides
by length (SimPO, length-normalised DPO); measure the length of answers before and after training.

Compared are characters of answers that differ by at least 5 %. The share is given with its 95 % interval (Wilson); the
finding is a note where the whole interval is above 60 % and a warning where it is above 75 %.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

from luthier.data.lint.row import Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, finding
from luthier.types import Finding, Message, Severity
from luthier.units import format_share

_Z = 1.96
_LEAST_DIFFERENCE = math.log(1.05)
_LEAST_PAIRS = 30
_NOTE_SHARE, _WARNING_SHARE = 0.6, 0.75


class LengthBias:
    """The rule."""

    name = "length_bias"
    severity: Severity = "warning"
    kinds: Kinds = frozenset({"preference"})
    looks_at = "the lengths of chosen and rejected answers"

    def start(self) -> _Lengths:
        """A fresh pass."""
        return _Lengths(self)


class _Lengths:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._numbers: array[int] = array("q")
        self._ratios: array[float] = array("d")
        """Logarithm of the length of chosen over rejected, where it is not about 0."""

    def see(self, row: LintRow) -> None:
        pair = row.pair
        assert pair is not None
        chosen, rejected = _length(pair.chosen), _length(pair.rejected)
        if chosen and rejected and abs(ratio := math.log(chosen / rejected)) >= _LEAST_DIFFERENCE:
            self._numbers.append(row.number)
            self._ratios.append(ratio)

    def findings(self, places: Places) -> Iterable[Finding]:
        total = len(self._ratios)
        if total < _LEAST_PAIRS:
            return
        longer = sum(ratio > 0 for ratio in self._ratios)
        word, count = ("longer", longer) if 2 * longer >= total else ("shorter", total - longer)
        low, high = wilson_interval(count, total)
        if low <= _NOTE_SHARE:
            return
        median = math.exp(abs(sorted(self._ratios)[total // 2]))
        fits = [n for n, ratio in zip(self._numbers, self._ratios, strict=True) if (ratio > 0) == (word == "longer")]
        yield finding(
            self._rule,
            places.first(fits),
            count,
            f"The chosen answer is the {word} one in {format_share(count / total)} of {total:,} pairs whose answers "
            "differ in "
            f"length (95 % interval {format_share(low)} to {format_share(high)}; chance would be 50 %): the model may "
            "learn to "
            f"write {'long' if word == 'longer' else 'short'} instead of well.",
            f"Drop pairs in which the {word} answer wins until about half are left, or normalise by length; compare "
            "lengths of "
            "answers before and after training.",
            f"median ratio of lengths {median:.2f}",
            severity="warning" if low > _WARNING_SHARE else "note",
        )


def _length(answer: tuple[Message, ...]) -> int:
    return sum(len(m.content.strip()) for m in answer if m.role == "assistant")


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927, without correction for continuity)."""
    share, z2 = count / total, _Z * _Z
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total)) / (1 + z2 / total)
    return centre - half, centre + half


RULE: Rule = LengthBias()
