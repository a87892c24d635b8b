"""Finds: answers that stop in the middle: an open code block, an end on "the" or a comma, or prose without a full stop
among the longest answers where shorter ones have it.

Hurts: the model learns to end its turn anywhere. Such answers come from a limit on tokens when the data were generated.
Do: generate them again with a higher limit, or drop them.

The last kind is called truncated only where the data show a limit: of the tenth of answers that is longest, many more
lack their full stop than of the others. Headings, lists, tables and links end without one and are not judged.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence

from luthier.data.lint.row import SPOKEN, Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, filled, finding
from luthier.types import Finding, Severity

_FENCE = re.compile(r"^ {0,3}(```|~~~)", re.MULTILINE)
_HANGING = re.compile(
    r"(?:[\w)\]]\s?,|\b(?:the|an|of|and|or|to|with|from|by|for|because|that|which|is|are|was|were|their|its|your|"
    r"der|die|das|und|oder|mit|von|weil|dass|le|les|des|du|et|ou|avec|pour|que|el|los|las|del|y|con|para|di|della"
    r"|che))\Z"
)
_LEAST_CHARACTERS = 60
_ENDS_IN_WORD = re.compile(r"[^\W_]\Z")
_NO_PROSE = re.compile(r"\s*(?:[-*+•#>|]|\d+[.)]|https?://)|.*[|=]")
_PROSE_WORDS = 9
_LEAST_LONG = 10
_MANY, _TIMES_AS_MANY = 0.2, 3.0


class TruncatedAnswers:
    """The rule."""

    name = "truncated_answers"
    severity: Severity = "warning"
    kinds: Kinds = SPOKEN
    looks_at = "the ends of answers"

    def start(self) -> _Ends:
        """A fresh pass."""
        return _Ends(self)


class _Ends:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._certain: dict[int, str] = {}
        self._lengths: array[int] = array("q")
        self._suspects: dict[int, tuple[int, str]] = {}

    def see(self, row: LintRow) -> None:
        for answer in row.answers:
            self._lengths.append(len(answer))
            if is_cut(answer):
                self._certain.setdefault(row.number, answer[-70:])
            elif ends_in_prose(answer):
                self._suspects[row.number] = (len(answer), answer[-70:])

    def findings(self, places: Places) -> Iterable[Finding]:
        wrong = {**self._at_the_limit(), **self._certain}
        if wrong:
            rows = sorted(wrong)
            yield finding(
                self._rule,
                places.first(rows),
                len(rows),
                filled(
                    "{rows} {have} an answer that stops in the middle: the model learns to end anywhere.",
                    len(rows),
                    len(places),
                ),
                "Generate them again with a higher limit on tokens, or drop them.",
                f"… {wrong[rows[0]]}",
            )

    def _at_the_limit(self) -> dict[int, str]:
        """Suspects among the longest tenth, if it has many more of them than the rest has."""
        rows = at_the_limit(self._lengths, {row: length for row, (length, _) in self._suspects.items()})
        return {row: self._suspects[row][1] for row in rows}


def at_the_limit(lengths: Sequence[int], suspects: Mapping[int, int]) -> set[int]:
    """Rows that were cut by a limit, if there is one.

    Args:
        lengths: Characters of all answers.
        suspects: Row → characters of its answer that ends in prose.
    """
    ordered = sorted(lengths)
    limit = ordered[int(0.9 * len(ordered))] if ordered else 0
    long = {row for row, length in suspects.items() if length >= limit}
    num_long = sum(length >= limit for length in ordered)
    num_short = len(ordered) - num_long
    share, other = len(long) / max(1, num_long), (len(suspects) - len(long)) / max(1, num_short)
    is_limit = num_long >= _LEAST_LONG and share >= _MANY and share >= _TIMES_AS_MANY * other
    return long if is_limit else set()


def is_cut(answer: str) -> bool:
    """Whether the end itself says that something is missing."""
    text = answer.rstrip()
    if len(text) < _LEAST_CHARACTERS:
        return False
    if "```" in text or "~~~" in text:
        return len(_FENCE.findall(text)) % 2 == 1
    return _HANGING.search(text, max(0, len(text) - 20)) is not None


def ends_in_prose(answer: str) -> bool:
    """Whether the last line is running text without an end."""
    text = answer.rstrip()
    if len(text) < _LEAST_CHARACTERS or not _ENDS_IN_WORD.search(text, len(text) - 1):
        return False
    line = text[text.rfind("\n") + 1 :]
    return len(line.split()) >= _PROSE_WORDS and not _NO_PROSE.match(line)


RULE: Rule = TruncatedAnswers()
