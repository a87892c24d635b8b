"""What a rule is, and the one pass over the rows that asks all of them.

A `Rule` says what it looks at; `start` gives a `Pass`, which sees every row once and then says what it found. Rows are
not kept: what a pass remembers must be small (a hash or a number per row), because files may be larger than memory.

Most rules judge each row on its own: those are a `RowRule` with one function. The others bring a `Pass` of their own. A
rule is asked only about rows of its `kinds`: length bias is no matter of plain text. A `NeedyRule` needs something
beside the rows (a tokenizer, evaluation sets) and is equipped with it before it starts.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from luthier.data.lint.row import ALL_KINDS, Kinds, LintItem, LintRow
from luthier.types import Finding, Severity, Source

if TYPE_CHECKING:
    from luthier.data.contamination import ContaminationIndex
    from luthier.data.template import ChatTemplate

LISTED_ROWS = 10
"""Places that a finding names; `Finding.num_rows` holds the count."""
_EXAMPLE_LENGTH = 90


class Pass(Protocol):
    """One look of one rule at all rows."""

    def see(self, row: LintRow) -> None:
        """The next row."""
        ...

    def findings(self, places: Places) -> Iterable[Finding]:
        """What was found, when every row has been seen."""
        ...


class Rule(Protocol):
    """Something that can be wrong with data.

    Attributes:
        name: Short and stable, as in ``--rule``.
        severity: Of its findings. An error makes the data unfit; a warning costs quality; a note is for deciding.
        kinds: Of rows that it is asked about.
        looks_at: What it looks at, in a few words.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def severity(self) -> Severity: ...  # noqa: D102
    @property
    def kinds(self) -> Kinds: ...  # noqa: D102
    @property
    def looks_at(self) -> str: ...  # noqa: D102

    def start(self) -> Pass:
        """A fresh pass."""
        ...


@dataclass(frozen=True)
class Given:
    """What some rules need beside the rows.

    Attributes:
        template: The tokenizer and chat template that the rows are to be trained with.
        evaluation: Rows of evaluation sets, which the data must not hold.
    """

    template: ChatTemplate | None = None
    evaluation: ContaminationIndex | None = None


class NeedyRule:
    """A rule that looks with something that is not in the rows."""

    needs = ""
    """What, in words, and how to give it."""

    def equip(self, given: Given) -> Rule | None:
        """The rule, ready to start; None where what it needs is missing."""
        raise NotImplementedError


class Places:
    """Where each row came from, by its number: a few bytes a row."""

    def __init__(self) -> None:
        self._files: list[str] = []
        self._firsts: list[int] = []
        self._lines: array[int] = array("q")

    def add(self, source: Source | None) -> None:
        """The next row's place; line 0 where it has none."""
        file, line = (source.file, source.line) if source else ("", 0)
        if not self._files or self._files[-1] != file:
            self._files.append(file)
            self._firsts.append(len(self._lines))
        self._lines.append(line)

    def __len__(self) -> int:
        return len(self._lines)

    def first(self, rows: Iterable[int], most: int = LISTED_ROWS) -> tuple[Source, ...]:
        """Places of the first of `rows`, as far as they have one."""
        sources: list[Source] = []
        for row, _ in zip(rows, range(most), strict=False):
            which = max(i for i, first in enumerate(self._firsts) if first <= row)
            if self._lines[row]:
                sources.append(Source(self._files[which], self._lines[row]))
        return tuple(sources)


@dataclass(frozen=True)
class RowRule:
    """A rule that judges each row on its own.

    Attributes:
        judge: What is wrong with the row, quoted, or None. Cheap for good rows: they are the many.
        says: The sentence of the finding. ``{rows}`` becomes "3 of 100 rows", ``{have}`` and ``{contain}`` follow the number.
        fix: What to do.
    """

    name: str
    severity: Severity
    looks_at: str
    judge: Callable[[LintRow], str | None]
    says: str
    fix: str
    kinds: Kinds = ALL_KINDS

    def start(self) -> Pass:
        """A count of the rows that are judged wrong."""
        return _Tally(self)


class _Tally:
    def __init__(self, rule: RowRule) -> None:
        self._rule = rule
        self._first: list[int] = []
        self._count = 0
        self._example = ""

    def see(self, row: LintRow) -> None:
        wrong = self._rule.judge(row)
        if wrong is None:
            return
        self._count += 1
        self._example = self._example or wrong
        if len(self._first) < LISTED_ROWS:
            self._first.append(row.number)

    def findings(self, places: Places) -> Iterable[Finding]:
        if self._count:
            rule = self._rule
            message = filled(rule.says, self._count, len(places))
            yield finding(rule, places.first(self._first), self._count, message, rule.fix, self._example)


def finding(
    rule: Rule,
    rows: tuple[Source, ...],
    num_rows: int,
    message: str,
    fix: str,
    example: str = "",
    *,
    severity: Severity | None = None,
    most: int = _EXAMPLE_LENGTH,
) -> Finding:
    """A finding of a rule; `severity` may be given where it is not the rule's, `most` where the example needs more room."""
    return Finding(rule.name, severity or rule.severity, rows, message, fix, num_rows, shown(example, most))


def count_of(count: int, total: int) -> str:
    """``3 of 100 rows``."""
    return f"{count:,} of {total:,} {'row' if total == 1 else 'rows'}"


def filled(says: str, count: int, total: int, **more: str) -> str:
    """The sentence with its number, and verbs that follow it."""
    have, contain = ("has", "contains") if count == 1 else ("have", "contain")
    return says.format(rows=count_of(count, total), have=have, contain=contain, **more)


def shown(text: str, most: int = _EXAMPLE_LENGTH) -> str:
    """One line of text that fits into a table; control characters are spelt out."""
    one_line = re.sub(r"\s+", " ", text).strip()
    cut = one_line if len(one_line) <= most else one_line[: most - 1] + "…"
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut)


def around(text: str, start: int, end: int, context: int = 24) -> str:
    """The part of a text from `start` to `end` with some context, for an example."""
    before = "…" if start > context else ""
    after = "…" if end + context < len(text) else ""
    return f"{before}{text[max(0, start - context) : end + context]}{after}"


class Look:
    """One pass of several rules over rows that come one by one.

    Attributes:
        passes: Those of the rules, by name.
        places: Of all rows.
        kinds: Rows of each kind.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.passes = {rule.name: rule.start() for rule in rules}
        self.places = Places()
        self.kinds: Counter[str] = Counter()
        self._asked = {kind: [self.passes[r.name].see for r in rules if kind in r.kinds] for kind in ALL_KINDS}

    def see(self, item: LintItem) -> None:
        """The next row."""
        row = LintRow(item, len(self.places))
        self.places.add(item.source)
        self.kinds[row.kind] += 1
        for see in self._asked[row.kind]:
            see(row)

    def is_asked(self, rule: Rule) -> bool:
        """Whether there was a row of its kinds."""
        return any(self.kinds[kind] for kind in rule.kinds)

    def findings(self) -> list[Finding]:
        """What all rules found, in their order."""
        return [found for running in self.passes.values() for found in running.findings(self.places)]


def look(rules: Sequence[Rule], items: Iterable[LintItem]) -> list[Finding]:
    """Ask `rules` about rows."""
    looking = Look(rules)
    for item in items:
        looking.see(item)
    return looking.findings()
