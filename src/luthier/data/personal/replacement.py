"""What stands in a text in place of personal data and secrets, so that it says nothing of them and is found as none.

    tag    [EMAIL_1]                  kind and number: plain to see
    mask   ****@*******.**            its signs, letters and digits as stars
    fake   person1@example.com        of the same form, and nobody's
    hash   [EMAIL_5f0c3a91d2e4]       the same in all files that are redacted with the same key

Fakes are nobody's for good: addresses at example.com (RFC 2606), telephone numbers 555-0100 to 555-0199 of North America
(reserved for fiction), IP addresses of documentation (RFC 5737, RFC 3849). All else keeps its form with X for letters and
zeros for digits before a count: no IBAN begins with XX, no card with 0000, and a form that has a right check digit all the same
is passed over. Reserved numbers are few (762 IPv4 addresses): when they are used up, tags follow.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Literal

Style = Literal["tag", "mask", "fake", "hash"]
STYLES: tuple[Style, ...] = ("tag", "mask", "fake", "hash")

_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
_HOSTS = 254
# Area codes: the middle digit is no 9 (reserved for longer numbers), and none ends in 11 (services).
_AREAS = [area for area in range(200, 1000) if area // 10 % 10 != 9 and area % 100 != 11]
_HASH_DIGITS = 12


def tag(kind: str, number: int) -> str:
    """``[EMAIL_1]``."""
    return f"[{kind.upper()}_{number}]"


def mask(value: str) -> str:
    """Stars for letters and digits; white space and signs stay."""
    return re.sub(r"[^\W_]", "*", value)


def keyed(kind: str, identity: str, key: bytes) -> str:
    """``[EMAIL_5f0c3a91d2e4]``: without the key nobody can try out what it may have been."""
    digest = hashlib.blake2b(f"{kind}\n{identity}".encode("utf-8", "surrogatepass"), digest_size=16, key=key)
    return f"[{kind.upper()}_{digest.hexdigest()[:_HASH_DIGITS]}]"


def fake(kind: str, value: str, number: int, is_found: Callable[[str], bool]) -> str | None:
    """A made-up value of the same form, the `number`-th of its kind (from 1); None where there is none.

    Args:
        kind: As in `Span.kind`.
        value: What it replaces.
        number: Different for different values.
        is_found: Whether a text would be taken for personal data or a secret.
    """
    if kind == "email":
        return f"person{number}@example.com"
    if kind == "ip":
        return _address(value, number)
    made = _phone(value, number) if kind == "phone" else shaped(value, number)
    return None if made is None or is_found(made) else made


def shaped(value: str, number: int) -> str | None:
    """The same form: letters are X, digits 0 with `number` at the end; None where it has too few digits for that."""
    digits = str(number)
    places = [index for index, sign in enumerate(value) if sign.isdigit()]
    if len(places) < len(digits) + 1:
        return None
    signs = ["0" if sign.isdigit() else "X" if sign.isalpha() else sign for sign in value]
    for place, digit in zip(reversed(places), reversed(digits), strict=False):
        signs[place] = digit
    return "".join(signs)


def _address(value: str, number: int) -> str | None:
    if ":" in value:
        return f"2001:db8::{number:x}"
    network, host = divmod(number - 1, _HOSTS)
    return f"{_NETWORKS[network]}.{host + 1}" if network < len(_NETWORKS) else None


def _phone(value: str, number: int) -> str | None:
    area, line = divmod(number - 1, 100)
    if area >= len(_AREAS):
        return None
    code, last = _AREAS[area], f"01{line:02d}"
    if value.startswith(("+", "00", "(+")):
        return f"+1 {code}-555-{last}"
    if value.startswith("("):
        return f"({code}) 555-{last}"
    return f"{code}555{last}" if value.isdigit() else f"{code}-555-{last}"


def identity(group: str, value: str) -> str:
    """What makes two ways of writing one value the same: of numbers their signs, of addresses lower case."""
    if group == "phone":
        return re.sub(r"\D", "", value).lstrip("0")
    if group in ("iban", "card", "national_id"):
        return re.sub(r"[\W_]", "", value).upper()
    return value.casefold() if group in ("email", "address") else value
