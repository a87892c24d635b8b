"""Which rows a person should look at: some of each kind of finding, and of all others an even cross-section.

Every row belongs to one stratum: to the rarest rule of the lint that found something in it, or to the rows in which none
did. Up to half of the sample are rows with findings, shared equally among the rules (more where more of all rows have
findings). The others are a systematic sample: rows in the order of their origin, number of turns and length, and of these
every k-th. What is drawn follows the hashes of rows, so that the same file gives the same sample.

A row of a stratum stands for (rows of it) / (rows of it in the sample): `summary` weighs them so.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from luthier.data.any_rows import AnyItem, RecognisedFile
from luthier.data.ledger import row_digest
from luthier.data.lint.row import LintItem, LintRow
from luthier.data.lint.rule import Look, RowRule, Rule
from luthier.data.row import Row
from luthier.types import Finding, Source

NO_FINDING = "no finding"
DOES_NOT_FIT = "row_does_not_fit"
ORIGIN_COLUMNS = ("source", "dataset", "origin", "category", "cluster", "topic", "task", "subset")
"""Columns that say where a row comes from or what it is about; the first that a file has counts."""
_MOST_ORIGINS = 12
_MANY_TURNS = 4


class SampledRow(NamedTuple):
    """A row to look at.

    Attributes:
        number: Among all rows, counted from 1.
        digest: Of the row as it was read.
        stratum: The rule that found something in it, `NO_FINDING`, or `DOES_NOT_FIT`.
        rules: All rules that did.
    """

    number: int
    digest: str
    stratum: str
    rules: tuple[str, ...]


class Sample(NamedTuple):
    """Rows in the order in which they are looked at, and how many rows each stratum has in all."""

    rows: tuple[SampledRow, ...]
    strata: dict[str, int]


class RowSurvey:
    """Sees all rows and remembers a few numbers of each.

    Args:
        rules: Those to ask.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._judges = [rule for rule in rules if isinstance(rule, RowRule)]
        self._looking = Look([rule for rule in rules if not isinstance(rule, RowRule)])
        self._digests: list[bytes] = []
        self._lengths, self._turns, self._origins = array("q"), array("q"), array("q")
        self._origin_names: dict[str, int] = {}
        self._found: dict[int, tuple[str, ...]] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._looked_at = array("q")

    def see(self, file: RecognisedFile, row: Row, item: LintItem | AnyItem | None) -> None:
        """The next row; `item` is None where it does not fit its layout."""
        number = len(self._digests)
        self._digests.append(row_digest(row.value, row.source)[:8])
        origin = f"{file.path}\n{_origin(row.value)}"
        if origin not in self._origin_names and len(self._origin_names) >= _MOST_ORIGINS:
            origin = ""
        self._origins.append(self._origin_names.setdefault(origin, len(self._origin_names)))
        if item is None:
            self._add(number, (DOES_NOT_FIT,))
            self._lengths.append(0)
            self._turns.append(0)
            return
        lint = LintRow(item, number)
        self._lengths.append(len(lint.whole))
        self._turns.append(min(len(lint.messages), _MANY_TURNS))
        self._add(number, tuple(rule.name for rule, _ in judged(self._judges, lint)))
        self._looking.see(item)
        self._looked_at.append(number)

    def sample(self, most: int) -> Sample:
        """At most so many rows."""
        self._add_listed()
        strata = self._strata()
        num_found = sum(map(len, strata.values()))
        total = len(self._digests)
        wanted = min(num_found, max(round(most * num_found / max(total, 1)), most // 2))
        rest = [number for number in range(total) if number not in self._found]
        wanted = max(wanted, min(num_found, most - len(rest)))
        chosen: dict[int, str] = {}
        for name, num in _equal_parts({name: len(rows) for name, rows in strata.items()}, wanted).items():
            chosen.update(dict.fromkeys(sorted(strata[name], key=self._order)[:num], name))
        rest.sort(key=lambda n: (self._origins[n], self._turns[n], self._lengths[n], *self._order(n)))
        chosen.update(dict.fromkeys(_every_kth(rest, min(most - wanted, len(rest))), NO_FINDING))
        sizes = {name: len(rows) for name, rows in strata.items()} | ({NO_FINDING: len(rest)} if rest else {})
        rows = [
            SampledRow(number + 1, self._digests[number].hex(), chosen[number], self._found.get(number, ()))
            for number in sorted(chosen, key=self._order)
        ]
        return Sample(tuple(rows), sizes)

    def _order(self, number: int) -> tuple[bytes, int]:
        return self._digests[number], number

    def _add(self, number: int, rules: tuple[str, ...]) -> None:
        if rules:
            merged = tuple(dict.fromkeys((*self._found.get(number, ()), *rules)))
            self._found[number] = self._names.setdefault(merged, merged)

    def _add_listed(self) -> None:
        """What rules found that compare rows: of them only the first rows are known."""
        wanted: dict[Source, list[str]] = {}
        for finding in self._looking.findings():
            for source in finding.rows if _is_about_rows(finding) else ():
                wanted.setdefault(source, []).append(finding.rule)
        if not wanted:
            return
        for index, number in enumerate(self._looked_at):
            for source in self._looking.places.first([index]):
                if source in wanted:
                    self._add(number, tuple(wanted[source]))

    def _strata(self) -> dict[str, list[int]]:
        """Rows with findings, each under its rarest rule."""
        counts = Counter(rule for rules in self._found.values() for rule in rules)
        strata: dict[str, list[int]] = {}
        for number, rules in self._found.items():
            strata.setdefault(min(rules, key=lambda rule: (counts[rule], rule)), []).append(number)
        return strata


def judged(rules: Iterable[Rule], row: LintRow) -> list[tuple[RowRule, str]]:
    """Rules that find something in this row alone, with what they saw."""
    asked = [rule for rule in rules if isinstance(rule, RowRule) and row.kind in rule.kinds]
    return [(rule, found) for rule in asked if (found := rule.judge(row)) is not None]


def _is_about_rows(finding: Finding) -> bool:
    return finding.num_rows > 0 and finding.rule != "few_rows"


def _origin(values: Mapping[str, Any]) -> str:
    name = next((name for name in ORIGIN_COLUMNS if isinstance(values.get(name), str)), None)
    return "" if name is None else values[name]


def _equal_parts(sizes: Mapping[str, int], wanted: int) -> dict[str, int]:
    """How many of each, as equal as the sizes allow: what a small one cannot give the larger ones do."""
    parts: dict[str, int] = {}
    by_size = sorted(sizes, key=lambda name: (sizes[name], name))
    for index, name in enumerate(by_size):
        parts[name] = min(sizes[name], -(-(wanted - sum(parts.values())) // (len(by_size) - index)))
    return parts


def _every_kth(rows: Sequence[int], num: int) -> list[int]:
    """`num` of the rows, evenly spaced."""
    return [rows[(2 * i + 1) * len(rows) // (2 * num)] for i in range(num)]
