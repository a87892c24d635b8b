"""Finds: answers in different formats: JSON in some and prose in others, Markdown in some and plain text in others.

Hurts: the model chooses by chance, and a program that reads its answers breaks on the other kind.
Do: bring all answers into the format that you will read; where the question asks for a format, it is fine.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable

from luthier.data.lint.row import SPOKEN, Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, count_of, finding
from luthier.types import Finding, Severity
from luthier.units import format_share

_MARKDOWN = re.compile(r"^(?:#{1,6} \S|\s*[-*+] \S.*\n\s*[-*+] \S|\|.+\|\s*$)|\*\*\S[^*\n]*\*\*|^```", re.MULTILINE)
_LEAST_ROWS = 20
_LEAST_CHARACTERS = 150
"""Markdown needs some length to make a difference; shorter answers are not judged by it."""
_MOST_PARSED = 100_000


class MixedFormats:
    """The rule."""

    name = "mixed_formats"
    severity: Severity = "warning"
    kinds: Kinds = SPOKEN
    looks_at = "the format of answers"

    def start(self) -> _Formats:
        """A fresh pass."""
        return _Formats(self)


class _Formats:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._json: tuple[array[int], array[int]] = (array("q"), array("q"))
        self._markdown: tuple[array[int], array[int]] = (array("q"), array("q"))

    def see(self, row: LintRow) -> None:
        if not row.answers:
            return
        answer = row.answers[-1]
        is_json = looks_like_json(answer)
        self._json[is_json].append(row.number)
        if not is_json and len(answer) >= _LEAST_CHARACTERS:
            self._markdown[_MARKDOWN.search(answer) is not None].append(row.number)

    def findings(self, places: Places) -> Iterable[Finding]:
        yield from self._mixture(
            places, self._json, "JSON", "prose", 0.02, None, "Programs that read the answers break on the other kind."
        )
        yield from self._mixture(
            places,
            self._markdown,
            "Markdown",
            "plain text",
            0.1,
            "note",
            "The model will choose by chance.",
        )

    def _mixture(
        self,
        places: Places,
        rows: tuple[array[int], array[int]],
        one: str,
        other: str,
        least: float,
        severity: Severity | None,
        consequence: str,
    ) -> Iterable[Finding]:
        plain, formatted = rows
        total = len(plain) + len(formatted)
        few, word = (formatted, one) if len(formatted) <= len(plain) else (plain, other)
        if total < _LEAST_ROWS or len(few) < 2 or len(few) < least * total:
            return
        yield finding(
            self._rule,
            places.first(few),
            len(few),
            f"{count_of(len(few), total)} answer in {word}, the others in {other if word == one else one} "
            f"({format_share(len(few) / total)}). {consequence}",
            "Bring all answers into the format that you will read, or let the question say which one it wants.",
            severity=severity or self._rule.severity,
        )


def looks_like_json(answer: str) -> bool:
    """Whether the whole answer is a JSON object or list (in a code block or not)."""
    text = answer.strip()
    if text.startswith("```"):
        text = text.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if len(text) < 2 or len(text) > _MOST_PARSED or text[0] + text[-1] not in ("{}", "[]"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


RULE: Rule = MixedFormats()
