"""Finds: what reaches or names a person: e-mail and IP addresses, phone numbers, bank accounts, payment cards, national
ids, street addresses.

Hurts: a model repeats what it learnt to anyone who asks, and cannot be made to forget one row; laws on data protection
apply.
Do: replace them (made-up values of the same form keep the text natural) or drop the rows.

Accounts, cards and ids count only with a right check digit. Of street addresses those without a word for a street are
missed (about a third); people's names are another rule's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from luthier.data.lint.row import ALL_KINDS, Kinds, LintRow
from luthier.data.lint.rule import LISTED_ROWS, Places, Rule, filled, finding
from luthier.data.personal.find import find_personal_data
from luthier.data.personal.span import Span
from luthier.types import Finding, Severity

_WORDS = {"email": "e-mail", "iban": "IBAN", "ip": "IP address"}


class PersonalData:
    """The rule."""

    name = "personal_data"
    severity: Severity = "warning"
    kinds: Kinds = ALL_KINDS
    looks_at = "all texts"

    def start(self) -> SpanCount:
        """A fresh pass."""
        return SpanCount(
            self,
            find_personal_data,
            "{rows} {contain} personal data ({kinds}): a model may repeat them to anyone, and laws on data protection "
            "apply.",
            "Replace them by made-up values of the same form, or drop the rows.",
        )


class SpanCount:
    """Counts rows and places in which a finder finds something; examples are masked, because reports are passed on."""

    def __init__(self, rule: Rule, find: Callable[[str], list[Span]], says: str, fix: str) -> None:
        self._rule, self._find, self._says, self._fix = rule, find, says, fix
        self._kinds: Counter[str] = Counter()
        self._first: list[int] = []
        self._count = 0
        self._example = ""

    def see(self, row: LintRow) -> None:
        """The next row."""
        spans = self._find(row.whole)
        if not spans:
            return
        self._count += 1
        self._kinds.update(span.kind for span in spans)
        self._example = self._example or f"{_word(spans[0].kind)} {masked(spans[0].of(row.whole))}"
        if len(self._first) < LISTED_ROWS:
            self._first.append(row.number)

    def findings(self, places: Places) -> Iterable[Finding]:
        """One finding for all kinds."""
        if self._count:
            kinds = ", ".join(f"{count:,} {_word(kind)}" for kind, count in self._kinds.most_common())
            message = filled(self._says, self._count, len(places), kinds=kinds)
            yield finding(self._rule, places.first(self._first), self._count, message, self._fix, self._example)


def masked(value: str) -> str:
    """The first and last signs of a value that must not be passed on."""
    shown = 3 if len(value) >= 12 else 1
    return f"{value[:shown]}…{value[-shown:]}"


def _word(kind: str) -> str:
    return _WORDS.get(kind, kind.replace("_", " "))


RULE: Rule = PersonalData()
