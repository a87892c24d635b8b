"""Right if a regular expression matches. With a group and a reference: right if what the group caught is the reference."""

from __future__ import annotations

import re
from typing import Any

from luthier.errors import InputError
from luthier.evaluation.protocol import Score, Scorer, TaskRow
from luthier.evaluation.scorers.exact_match import accepted_texts, normalised, text_problem

LONGEST_ANSWER = 20_000
"""Characters that are searched: Python's expressions can take very long on very long texts."""


class Regex(Scorer):
    r"""Searches answers.

    Args:
        pattern: Python's syntax; ``^`` and ``$`` stand for lines. Its last match counts. None: each row's reference is
            the pattern. With a group the group's text is compared with the reference, as exact_match does.
        whole: Whether the pattern must match the whole answer.

    Raises:
        InputError: The pattern is broken.
    """

    name = "regex"
    metric = "match"

    def __init__(self, pattern: str | None = None, *, whole: bool = False) -> None:
        self._whole = whole
        try:
            self._pattern = re.compile(pattern, re.MULTILINE) if pattern is not None else None
        except re.error as error:
            raise InputError(f"The scorer's pattern {pattern!r} is no regular expression: {error}.") from error

    @property
    def compares(self) -> bool:
        """Whether what is caught is compared with a reference."""
        return self._pattern is not None and self._pattern.groups > 0

    def reference_problem(self, reference: Any) -> str:
        """It must be text where a group is compared, a pattern where there is none."""
        if self.compares:
            return text_problem(reference)
        if self._pattern is None:
            try:
                re.compile(str(reference))
            except re.error as error:
                return f"{reference!r} is no regular expression: {error}"
        return ""

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where it matches."""
        text = answer.strip()[:LONGEST_ANSWER]
        pattern = self._pattern or re.compile(str(row.reference), re.MULTILINE)
        last = next(reversed(list(pattern.finditer(text))), None)
        match = pattern.fullmatch(text) if self._whole else last
        if match is None:
            return Score(0.0, "no match" if text else "the answer is empty")
        if not self.compares:
            return Score(1.0, "matches", match.group())
        caught = next((group for group in match.groups() if group is not None), "")
        right = normalised(caught) in {normalised(reference) for reference in accepted_texts(row.reference)}
        return Score(float(right), "caught the reference" if right else f"caught '{caught}'", caught)
