"""Finds: answers that are very much shorter or longer than the others.

Hurts: a few giants take most of the tokens of a step and decide the memory that is needed; stubs among essays are often
placeholders or failed generations. What is usual is taken from the data: outliers are far outside the middle half of
the lengths, on a logarithmic scale (Tukey's outer fences).
Do: look at them; drop what is broken, shorten or split what is too long.

Lengths are counted in tokens where a tokenizer is given, else in characters.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from luthier.data.lint.row import SPOKEN, Kinds, LintRow
from luthier.data.lint.rule import Given, NeedyRule, Places, Rule, filled, finding
from luthier.types import Finding, Severity

if TYPE_CHECKING:
    from luthier.data.template import ChatTemplate

_FENCE = 3.0
_LEAST_SPREAD = math.log(1.6)
"""The middle half is taken to be at least this wide, so that answers of one length do not make every other an outlier."""
_LEAST_ROWS = 50
_CHARACTERS_PER_TOKEN = 4
_ALWAYS_USUAL_CHARACTERS = 300
"""No answer up to this is called very long."""
_LEAST_SHORT_CHARACTERS = 20
"""Nothing is called very short where answers of this length are usual: a yes or a number is an answer."""
_ENCODED_AT_ONCE = 500


class AnswerLength(NeedyRule):
    """The rule."""

    name = "answer_length"
    severity: Severity = "note"
    kinds: Kinds = SPOKEN
    looks_at = "the length of answers, in tokens or characters"
    needs = ""

    def __init__(self, template: ChatTemplate | None = None) -> None:
        self._template = template

    def equip(self, given: Given) -> AnswerLength:
        """With a tokenizer, if there is one."""
        return AnswerLength(given.template)

    def start(self) -> _Lengths:
        """A fresh pass."""
        return _Lengths(self, self._template)


class _Lengths:
    def __init__(self, rule: Rule, template: ChatTemplate | None) -> None:
        self._rule, self._template = rule, template
        self._unit = "characters" if template is None else "tokens"
        self._per_unit = 1 if template is None else _CHARACTERS_PER_TOKEN
        self._numbers: array[int] = array("q")
        self._lengths: array[int] = array("q")
        self._waiting: list[str] = []

    def see(self, row: LintRow) -> None:
        for answer in row.answers:
            self._numbers.append(row.number)
            if self._template is None:
                self._lengths.append(len(answer))
            else:
                self._waiting.append(answer)
                if len(self._waiting) >= _ENCODED_AT_ONCE:
                    self._encode()

    def _encode(self) -> None:
        if self._template is not None and self._waiting:
            from luthier.data.tokenizer_check import backend_of

            backend = backend_of(self._template.tokenizer)
            self._lengths.extend(
                max(1, len(e.ids)) for e in backend.encode_batch_fast(self._waiting, add_special_tokens=False)
            )
            self._waiting = []

    def findings(self, places: Places) -> Iterable[Finding]:
        self._encode()
        if len(self._lengths) < _LEAST_ROWS:
            return
        low, median, high = usual_lengths(self._lengths, _ALWAYS_USUAL_CHARACTERS / self._per_unit)
        is_prose = low >= _LEAST_SHORT_CHARACTERS / self._per_unit
        short = [i for i, length in enumerate(self._lengths) if length < low] if is_prose else []
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
                + f" very much {word} than usual (median {median:,} {self._unit}; usual are {max(1, math.ceil(low)):,} to "
                f"{math.floor(high):,}).",
                fix,
                f"{extreme:,} {self._unit}",
            )


def usual_lengths(lengths: Sequence[int], always_usual: float) -> tuple[float, int, float]:
    """The lower fence, the median and the upper fence; no length up to `always_usual` is above it."""
    ordered = sorted(lengths)
    quarter, median, three_quarters = (ordered[int(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75))
    spread = max(math.log(three_quarters / quarter), _LEAST_SPREAD)
    high = math.exp(math.log(three_quarters) + _FENCE * spread)
    return math.exp(math.log(quarter) - _FENCE * spread), median, max(high, always_usual)


RULE: Rule = AnswerLength()
