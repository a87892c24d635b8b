"""Finds: answers that are very much shorter or longer than the others.

Hurts: a few giants take most of the tokens of a step and decide the memory that is needed; stubs among essays are often
placeholders or failed generations. What is usual is taken from the data: outliers are far outside the middle half of the
lengths, on a logarithmic scale (Tukey's outer fences).
Do: look at them; drop what is broken, shorten or split what is too long.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import Places, Rule, filled, finding
from luthier.types import Finding, Severity

_FENCE = 3.0
_LEAST_SPREAD = math.log(1.6)
"""The middle half is taken to be at least this wide, so that answers of one length do not make every other an outlier."""
_LEAST_ROWS = 50
_ALWAYS_USUAL_CHARACTERS = 300
"""No answer up to this is called very long."""
_LEAST_SHORT_CHARACTERS = 20
"""Nothing is called very short where answers of this length are usual: a yes or a number is an answer."""


class AnswerLength:
    """The rule."""

    name = "answer_length"
    severity: Severity = "note"
    looks_at = "the length of answers in characters"

    def start(self) -> _Lengths:
        """A fresh pass."""
        return _Lengths(self)


class _Lengths:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._numbers: array[int] = array("q")
        self._lengths: array[int] = array("q")

    def see(self, row: LintRow) -> None:
        for answer in row.answers:
            self._numbers.append(row.number)
            self._lengths.append(len(answer))

    def findings(self, places: Places) -> Iterable[Finding]:
        if len(self._lengths) < _LEAST_ROWS:
            return
        low, median, high = usual_lengths(self._lengths)
        short = [i for i, length in enumerate(self._lengths) if length < low] if low >= _LEAST_SHORT_CHARACTERS else []
        long = [i for i, length in enumerate(self._lengths) if length > high]
        for which, word, fix in (
            (
                short,
                "shorter",
                "Look at them: placeholders, failed generations and cut answers go; right short answers stay.",
            ),
            (
                long,
                "longer",
                "Look at them; split or shorten what is too long. They decide how much memory training needs.",
            ),
        ):
            if not which:
                continue
            rows = list(dict.fromkeys(self._numbers[i] for i in which))
            extreme = (min if word == "shorter" else max)(self._lengths[i] for i in which)
            yield finding(
                self._rule,
                places.first(rows),
                len(rows),
                filled("{rows} {have} an answer", len(rows), len(places))
                + f" very much {word} than usual (median {median:,} characters; usual are {max(1, math.ceil(low)):,} to "
                f"{math.floor(high):,}).",
                fix,
                f"{extreme:,} characters",
            )


def usual_lengths(lengths: Sequence[int]) -> tuple[float, int, float]:
    """The lower fence, the median and the upper fence, in characters."""
    ordered = sorted(lengths)
    quarter, median, three_quarters = (ordered[int(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75))
    spread = max(math.log(three_quarters / quarter), _LEAST_SPREAD)
    high = math.exp(math.log(three_quarters) + _FENCE * spread)
    return math.exp(math.log(quarter) - _FENCE * spread), median, max(high, float(_ALWAYS_USUAL_CHARACTERS))


RULE: Rule = AnswerLength()
