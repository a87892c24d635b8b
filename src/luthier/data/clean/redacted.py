"""Repairs that put a tag in place of what must not be learnt ([EMAIL_1]): what `luthier data redact` does, kind by kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from luthier.data.clean.repair import Edit, Edits, Given, Mend, RepairRow
from luthier.data.lint.row import LintRow
from luthier.data.personal.span import Span
from luthier.data.redact import Redactor
from luthier.data.text_places import value_at


def redacting(name: str, does: str, kinds: Sequence[str], find: Callable[[str], list[Span]]) -> Mend:
    """A repair that replaces some kinds.

    Args:
        name: Of the rule.
        does: What it does.
        kinds: Of `luthier.data.redact.KINDS`.
        find: What the rule finds them with.
    """

    def start(_: Given) -> Edits:
        redactor = Redactor(kinds)

        def edits(row: RepairRow) -> Iterator[Edit]:
            for place in row.places:
                before = value_at(row.values, place.path)
                after = redactor.redact_json(before) if place.form == "json" else redactor.redact(before)
                if after != before:
                    yield Edit(place.path, after)

        return edits

    def is_left(row: LintRow, _: Given) -> bool:
        return bool(find(row.whole))

    return Mend(name, does, False, start, is_left)
