"""Bank accounts: IBANs with the length of their country and a check number that is right (ISO 13616, modulo 97)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.data.personal.span import Span

# Length by country, from the IBAN registry of SWIFT (release 99).
LENGTHS = {
    **dict.fromkeys(["NO"], 15),
    **dict.fromkeys(["BE"], 16),
    **dict.fromkeys(["DK", "FI", "FK", "FO", "GL", "NL", "SD"], 18),
    **dict.fromkeys(["MK", "SI"], 19),
    **dict.fromkeys(["AT", "BA", "EE", "KZ", "LT", "LU", "MN", "XK"], 20),
    **dict.fromkeys(["CH", "HR", "LI", "LV"], 21),
    **dict.fromkeys(["BG", "BH", "CR", "DE", "GB", "GE", "IE", "ME", "RS", "VA"], 22),
    **dict.fromkeys(["AE", "GI", "IL", "IQ", "OM", "SO", "TL"], 23),
    **dict.fromkeys(["AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"], 24),
    **dict.fromkeys(["LY", "PT", "ST"], 25),
    **dict.fromkeys(["IS", "TR"], 26),
    **dict.fromkeys(["BI", "DJ", "FR", "GR", "IT", "MC", "MR", "SM"], 27),
    **dict.fromkeys(["AL", "AZ", "BY", "CY", "DO", "GT", "HN", "HU", "LB", "NI", "PL", "SV"], 28),
    **dict.fromkeys(["BR", "EG", "PS", "QA", "UA"], 29),
    **dict.fromkeys(["JO", "KW", "MU", "YE"], 30),
    **dict.fromkeys(["MT", "SC"], 31),
    **dict.fromkeys(["LC"], 32),
    **dict.fromkeys(["RU"], 33),
}
_CANDIDATE = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")


def find_ibans(text: str) -> Iterator[Span]:
    """All accounts, in one piece or in groups."""
    for found in _CANDIDATE.finditer(text):
        end = _end(found.group(), LENGTHS.get(found.group()[:2].upper(), 0))
        after = text[found.start() + end : found.start() + end + 1]
        if end and not after.isalnum() and is_iban(found.group()[:end]):
            yield Span("iban", found.start(), found.start() + end)


def is_iban(written: str) -> bool:
    """Whether country, length and check number fit."""
    compact = re.sub(r"[ -]", "", written).upper()
    if len(compact) != LENGTHS.get(compact[:2]) or not compact.isalnum() or not compact.isascii():
        return False
    moved = compact[4:] + compact[:4]
    return int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def _end(written: str, length: int) -> int:
    """Where the account ends in what was found; 0 where it is too short."""
    count = 0
    for index, sign in enumerate(written):
        count += sign not in " -"
        if count == length:
            return index + 1
    return 0
