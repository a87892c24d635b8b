"""Finds: one prompt with several different answers.

Hurts: where one answer is right, the model learns a mixture of right and wrong. Open questions may well have several.
Do: keep the right one; leave open questions as they are.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import Places, Rule, finding
from luthier.types import Finding, Severity


class ConflictingAnswers:
    """The rule."""

    name = "conflicting_answers"
    severity: Severity = "note"
    looks_at = "rows with an equal prompt"

    def start(self) -> _Answers:
        """A fresh pass."""
        return _Answers(self)


class _Answers:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._firsts: dict[int, int] = {}
        self._contents: array[int] = array("q")
        self._later: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
        self._conflicting: set[int] = set()
        self._example = ""

    def see(self, row: LintRow) -> None:
        self._contents.append(row.content_hash)
        if not row.messages:
            return
        prompt = row.prompt_hash
        first = self._firsts.setdefault(prompt, row.number)
        if first == row.number:
            return
        self._later[prompt].append(row.number)
        if self._contents[first] != row.content_hash:
            self._conflicting.add(prompt)
            self._example = self._example or row.prompts

    def findings(self, places: Places) -> Iterable[Finding]:
        if not self._conflicting:
            return
        rows = sorted(n for p in self._conflicting for n in (self._firsts[p], *self._later[p]))
        yield finding(
            self._rule,
            places.first(rows),
            len(rows),
            f"{len(self._conflicting)} prompts occur with different answers ({len(rows)} rows): the model learns a mixture.",
            "Fine for open questions; where one answer is right, keep that one.",
            self._example,
        )


RULE: Rule = ConflictingAnswers()
