"""What a repair is: a `Mend` changes texts of a row where they stand, a `Drop` says why a row goes.

Repairs are asked again after others have changed the row, until none has anything to do. So a second cleaning finds nothing, and
a repair must never undo what another does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from luthier.data.any_rows import AnyItem, RecognisedFile
from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule
from luthier.data.row import Row
from luthier.data.text_places import PlacePath, TextPlace, text_places, value_at, with_value
from luthier.types import Source


class Edit(NamedTuple):
    """What is to stand at a place."""

    path: PlacePath
    after: Any


class RepairRow:
    """A row as it stands in its file and as it is read.

    Args:
        values: Its columns.
        item: What they say.
        file: Where it comes from: knows the layout.
        row: As it was read.
        number: Counted from 0 over all files.
        columns: ``{part: column}`` where names differ.
    """

    def __init__(
        self, values: Any, item: AnyItem, file: RecognisedFile, row: Row, number: int, columns: Mapping[str, str]
    ) -> None:
        self.values = values
        self.item = item
        self.file = file
        self.columns = columns
        self.number = number
        self._row = row

    @cached_property
    def lint(self) -> LintRow:
        """As the rules see it."""
        return LintRow(self.item, self.number)

    @property
    def where(self) -> Source:
        """Its place."""
        return self._row.source

    @cached_property
    def places(self) -> list[TextPlace]:
        """Where its texts stand."""
        return text_places(self.values, self.file.unused, self.columns)

    def texts(self) -> Iterator[tuple[TextPlace, str]]:
        """Places of words (not of calls) with what stands there."""
        for place in self.places:
            if place.form == "text":
                yield place, value_at(self.values, place.path)

    def edited(self, edits: Iterable[Edit]) -> RepairRow:
        """The row with other values.

        Raises:
            BadRowError: It does not fit its layout any more.
        """
        values = self.values
        for edit in edits:
            values = with_value(values, edit.path, edit.after)
        item = self.file.to_item(Row(values, self._row.source))
        return RepairRow(values, item, self.file, self._row, self.number, self.columns)


class Given(NamedTuple):
    """What some repairs need beside the rows.

    Attributes:
        special_tokens: Control tokens of the model to train, as text.
    """

    special_tokens: tuple[str, ...] = ()


Edits = Callable[[RepairRow], Iterable[Edit]]


@dataclass(frozen=True)
class Mend:
    """A repair that changes a row.

    Attributes:
        name: That of the rule whose findings it repairs, where there is one.
        does: What it does, in a few words.
        is_safe: Whether it belongs to what is done unless told otherwise.
        start: Makes the function that gives a row's edits; it may remember what it saw.
        is_left: Whether something is wrong with a row still.
    """

    name: str
    does: str
    is_safe: bool
    start: Callable[[Given], Edits]
    is_left: Callable[[LintRow, Given], bool]


class Judge(Protocol):
    """One pass of a `Drop` over the rows that no other repair drops."""

    def look(self, row: RepairRow) -> None:
        """A row, before any is judged; only if the repair `looks_first`."""
        ...

    def reason(self, row: RepairRow) -> str | None:
        """Why the row goes, or None."""
        ...


@dataclass(frozen=True)
class Drop:
    """A repair that puts rows aside.

    Attributes:
        name: That of the rule whose findings it repairs, where there is one.
        does: What it does, in a few words.
        is_safe: Whether it belongs to what is done unless told otherwise.
        start: Makes a fresh judge.
        looks_first: Whether the judge must see all rows that the other repairs keep before it can say anything. It is then asked
            last, about those rows.
        at_once: What can be said of a row even so.
    """

    name: str
    does: str
    is_safe: bool
    start: Callable[[], Judge]
    looks_first: bool = False
    at_once: Callable[[LintRow], str | None] | None = None


Repair = Mend | Drop


@dataclass
class RowJudge:
    """Judges each row on its own."""

    judge: Callable[[LintRow], str | None]
    says: str = field(default="{}")

    def look(self, row: RepairRow) -> None:
        """Nothing to learn from other rows."""

    def reason(self, row: RepairRow) -> str | None:
        """The sentence, filled with what the rule saw."""
        found = self.judge(row.lint)
        return None if found is None else self.says.format(found)


def text_edits(mend: Callable[[str, RepairRow], str]) -> Callable[[Given], Edits]:
    """`Mend.start` of a repair that changes each text on its own."""

    def edits(row: RepairRow) -> Iterator[Edit]:
        for place, before in row.texts():
            after = mend(before, row)
            if after != before:
                yield Edit(place.path, after)

    return lambda _: edits


def judge_of(rule: Rule) -> Callable[[LintRow], str | None]:
    """How a rule judges a single row."""
    assert isinstance(rule, RowRule), rule.name
    return rule.judge


def found_by(rule: Rule) -> Callable[[LintRow, Given], bool]:
    """`Mend.is_left` of a repair for what a rule finds in single rows."""
    judge = judge_of(rule)
    return lambda row, _: judge(row) is not None
