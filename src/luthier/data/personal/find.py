"""Everything in a text that reaches or names a person, or opens a door: each place once, whatever several finders say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from luthier.data.personal.address import find_addresses
from luthier.data.personal.card import find_cards
from luthier.data.personal.email import find_emails
from luthier.data.personal.iban import find_ibans
from luthier.data.personal.ip import find_ips
from luthier.data.personal.national_id import find_national_ids
from luthier.data.personal.phone import find_phones
from luthier.data.personal.secrets import find_assignments, find_shaped_secrets
from luthier.data.personal.span import Span


class Finder(NamedTuple):
    """What finds a kind of place, and the sign without which a text has none (cheap: most texts end there).

    Attributes:
        is_number: The sign is one of those that `_NUMBERED` finds together: one look at the text instead of five.
    """

    find: Callable[[str], Iterator[Span]]
    hint: re.Pattern[str]
    is_number: bool = False


# Where two finders claim one place, the one that comes first has it: those with check digits come first.
FINDERS: dict[str, Finder] = {
    "email": Finder(find_emails, re.compile("@")),
    "iban": Finder(find_ibans, re.compile(r"\d\d(?<=[A-Za-z]{2}\d\d)[ -]?\w{3}"), is_number=True),
    "card": Finder(find_cards, re.compile(r"\d(?:[ -]?\d){11}"), is_number=True),
    "national_id": Finder(
        find_national_ids,
        re.compile(r"\d(?:(?:[ ./+-]?\d){4}|[A-Za-z]\d\d|[LMNP-Vlmnp-v]{1,2}[A-Za-z])"),
        is_number=True,
    ),
    "ip": Finder(find_ips, re.compile(r"\d\.\d{1,3}\.|:[0-9a-fA-F]{0,4}:"), is_number=True),
    "phone": Finder(find_phones, re.compile(r"\d[\d ().\-/]{5,}\d"), is_number=True),
    "address": Finder(find_addresses, re.compile(r"\d")),
}
_NUMBERED = re.compile(
    r"\d(?:\d(?<=[A-Za-z]{2}\d\d)|(?:[ ./+-]?\d){4}|[A-Za-z]\d\d|[LMNP-Vlmnp-v]{1,2}[A-Za-z]|\.\d"
    r"|[\d ().\-/]{5,}\d)"
)


def find_personal_data(text: str) -> list[Span]:
    """Personal data, in order of place; none overlaps another."""
    found: list[Span] = []
    has_number = text.count(":") >= 2 or _NUMBERED.search(text) is not None
    for finder in FINDERS.values():
        if (has_number or not finder.is_number) and finder.hint.search(text):
            found += [span for span in finder.find(text) if not any(_overlap(span, other) for other in found)]
    return sorted(found, key=lambda span: span.start)


def find_known_secrets(text: str) -> list[Span]:
    """Secrets with a form of their own, in order of place; none overlaps another."""
    return _apart(find_shaped_secrets(text))


def find_assigned_secrets(text: str) -> list[Span]:
    """Random-looking values that a password or key is set to, and that have no form of their own."""
    found = list(find_assignments(text))
    known = find_known_secrets(text) if found else []
    return [span for span in _apart(found) if not any(_overlap(span, other) for other in known)]


def _apart(spans: Iterable[Span]) -> list[Span]:
    found: list[Span] = []
    for span in spans:
        if not any(_overlap(span, other) for other in found):
            found.append(span)
    return sorted(found, key=lambda span: span.start)


def _overlap(a: Span, b: Span) -> bool:
    return a.start < b.end and b.start < a.end
