"""Payment cards: numbers that an issuer gives out (by their first digits and length) with a right check digit (Luhn)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.data.personal.span import Span

_CANDIDATE = re.compile(r"(?<![\d.,#])(?<!\d[ -])\d(?:[ -]?\d){11,18}(?![ -]?\d)(?![.,]\d)")

# Ranges of the first digits, and lengths: ISO/IEC 7812 and the issuers' own publications.
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011\d{2}|64[4-9]\d{3}|65\d{4})\d{10,13}"  # Discover
    r"|3(?:0[0-5]|095|[689]\d)\d{11,16}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}|(?:1800|2131)\d{11}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3]|0604)\d{8,15}"  # Maestro
)


def find_cards(text: str) -> Iterator[Span]:
    """All card numbers, in one piece or in groups."""
    for found in _CANDIDATE.finditer(text):
        if is_card(found.group()):
            yield Span("card", *found.span())


def is_card(written: str) -> bool:
    """Whether issuer, length and check digit fit."""
    digits = re.sub(r"[ -]", "", written)
    return _ISSUERS.fullmatch(digits) is not None and len(set(digits)) > 2 and passes_luhn(digits)


def passes_luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + index % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
