"""Finds: one prompt with several different answers.

Hurts: where one answer is right, the model learns a mixture of right and wrong. Open questions may well have several.
Do: keep the right one; leave open questions as they are.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable

from luthier.data.lint.row import Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, finding
from luthier.types import Finding, Severity


class ConflictingAnswers:
    """The rule."""

    name = "conflicting_answers"
    severity: Severity = "note"
    kinds: Kinds = frozenset({"chat"})
    looks_at = "rows with an equal prompt"

    def start(self) -> Conflicts:
        """A fresh pass."""
        return Conflicts(
            self,
            "{prompts} with different answers ({rows} rows): the model learns a mixture.",
            ("prompt occurs", "prompts occur"),
            "Fine for open questions; where one answer is right, keep that one.",
        )


class Conflicts:
    """Collects rows that ask the same and are answered differently."""

    def __init__(self, rule: Rule, says: str, occur: tuple[str, str], fix: str) -> None:
        self._rule, self._says, self._occur, self._fix = rule, says, occur, fix
        self._firsts: dict[int, int] = {}
        self._numbers: array[int] = array("q")
        self._contents: array[int] = array("q")
        self._later: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
        self._conflicting: set[int] = set()
        self._example = ""

    def see(self, row: LintRow) -> None:
        """The next row."""
        index = len(self._numbers)
        self._numbers.append(row.number)
        self._contents.append(row.content_hash)
        if not row.messages:
            return
        prompt = row.prompt_hash
        first = self._firsts.setdefault(prompt, index)
        if first == index:
            return
        self._later[prompt].append(row.number)
        if self._contents[first] != row.content_hash:
            self._conflicting.add(prompt)
            self._example = self._example or row.prompts

    def findings(self, places: Places) -> Iterable[Finding]:
        """One for all of them."""
        if not self._conflicting:
            return
        rows = sorted(n for p in self._conflicting for n in (self._numbers[self._firsts[p]], *self._later[p]))
        count = len(self._conflicting)
        says = self._says.format(prompts=f"{count:,} {self._occur[count > 1]}", rows=f"{len(rows):,}")
        yield finding(self._rule, places.first(rows), len(rows), says, self._fix, self._example)


RULE: Rule = ConflictingAnswers()
