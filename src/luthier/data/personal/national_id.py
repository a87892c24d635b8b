"""Numbers that a state gives to a person, each by its own rule: check digits, dates inside, ranges that are never given
out.

Numbers of digits alone whose check digit a tenth of random numbers pass (PESEL, Steuer-ID, BSN, NHS, Aadhaar) need a
word before them that says what they are. The sources of the rules are named beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import NamedTuple

from luthier.data.personal.card import passes_luhn
from luthier.data.personal.span import Span

_WORD_WITHIN = 40


class Kind(NamedTuple):
    """One country's number: how it is written, whether it is one, and the word that must stand before it, if any."""

    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    word: re.Pattern[str] | None = None


def find_national_ids(text: str) -> Iterator[Span]:
    """All of them; the kind names the country and the number."""
    for name, kind in NATIONAL_IDS.items():
        for found in kind.pattern.finditer(text):
            before = text[max(0, found.start() - _WORD_WITHIN) : found.start()]
            if (kind.word is None or kind.word.search(before)) and kind.is_valid(_compact(found.group())):
                yield Span(name, *found.span())


def _compact(written: str) -> str:
    return re.sub(r"[ ./]", "", written).upper()


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _has_day(two_digit_year: str, month: int, day: int) -> bool:
    """Whether the day exists in 19xx or 20xx."""
    return any(_is_date(century + int(two_digit_year), month, day) for century in (1900, 2000))


def is_us_ssn(number: str) -> bool:
    """Social Security Administration: no area 000, 666 or 9xx, no group 00, no serial 0000; not the famous printed ones."""
    area, group, serial = number.split("-")
    if area in ("000", "666") or area >= "900" or group == "00" or serial == "0000":
        return False
    return number not in ("078-05-1120", "219-09-9999", "123-45-6789")


def is_es_dni(number: str) -> bool:
    """DNI and NIE (Real Decreto 1553/2005): the letter is the number modulo 23."""
    digits = number[:-1].replace("-", "").translate(str.maketrans("XYZ", "012"))
    return number[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23]


# Weights of the signs on odd places: of 0 to 9 and, likewise, of A to Z.
_CF_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def is_it_codice_fiscale(number: str) -> bool:
    """Codice fiscale (D.M. 12 March 1974): a letter over all sixteen, odd places weighted by a table."""
    places = [int(sign) if sign.isdigit() else ord(sign) - ord("A") for sign in number[:15]]
    total = sum(_CF_ODD[place] for place in places[::2]) + sum(places[1::2])
    return number[15] == chr(65 + total % 26)


def is_fr_nir(number: str) -> bool:
    """NIR (INSEE): key = 97 − number mod 97; Corsica's 2A and 2B count as 19 and 18."""
    digits = number.replace("-", "").replace("2A", "19").replace("2B", "18")
    month = int(digits[3:5])
    return (1 <= month <= 12 or 20 <= month <= 42 or month >= 50) and int(digits[13:]) == 97 - int(digits[:13]) % 97


def is_pl_pesel(number: str) -> bool:
    """PESEL: weights 1 3 7 9, the century hidden in the month."""
    month, day = int(number[2:4]), int(number[4:6])
    century = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}[month // 20]
    total = sum(w * int(d) for w, d in zip((1, 3, 7, 9, 1, 3, 7, 9, 1, 3), number[:10], strict=True))
    return _is_date(century + int(number[:2]), month % 20, day) and (10 - total % 10) % 10 == int(number[10])


def is_fi_hetu(number: str) -> bool:
    """Henkilötunnus (Digital and Population Data Services Agency): the sign is the number modulo 31."""
    digits = number[:6] + number[7:10]
    exists = _has_day(number[4:6], int(number[2:4]), int(number[:2])) and int(number[7:10]) >= 2
    return exists and number[10] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31]


def is_se_personnummer(number: str) -> bool:
    """Personnummer (Skatteverket, SKV 704): Luhn over ten digits; 60 is added to the day for samordningsnummer."""
    digits = re.sub(r"[-+]", "", number)[-10:]
    day = int(digits[4:6])
    return _has_day(digits[:2], int(digits[2:4]), day - 60 if day > 60 else day) and passes_luhn(digits)


def is_no_fodselsnummer(number: str) -> bool:
    """Fødselsnummer (Skatteetaten): two check digits modulo 11; 40 is added to the day for D-nummer."""
    d = [int(digit) for digit in number]
    day = int(number[:2])
    first = (11 - sum(w * x for w, x in zip((3, 7, 6, 1, 8, 9, 4, 5, 2), d, strict=False)) % 11) % 11
    second = (11 - sum(w * x for w, x in zip((5, 4, 3, 2, 7, 6, 5, 4, 3, 2), d, strict=False)) % 11) % 11
    return _has_day(number[4:6], int(number[2:4]), day - 40 if day > 40 else day) and (first, second) == (d[9], d[10])


def is_be_nrn(number: str) -> bool:
    """Rijksregisternummer (Royal Decree of 3 April 1984): 97 − number mod 97; a 2 in front for those born from 2000 on."""
    digits = number.replace("-", "")
    base, check = digits[:9], int(digits[9:])
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    exists = month == 0 or day == 0 or _has_day(digits[:2], month, day)
    return exists and check in (97 - int(base) % 97, 97 - int("2" + base) % 97)


def is_de_steuer_id(number: str) -> bool:
    """Steuerliche Identifikationsnummer (Bundeszentralamt für Steuern): ISO 7064 mod 11, 10; one digit repeats."""
    digits = number
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    repeated = [digits[:10].count(digit) for digit in set(digits[:10])]
    return digits[0] != "0" and max(repeated) in (2, 3) and (11 - product) % 10 == int(digits[10])


def is_nl_bsn(number: str) -> bool:
    """Burgerservicenummer: weights 9 to 2 and −1, modulo 11."""
    digits = number.zfill(9)
    return (
        int(digits) > 0 and sum(w * int(d) for w, d in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), digits, strict=True)) % 11 == 0
    )


def is_uk_nino(number: str) -> bool:
    """National Insurance number (HMRC manual NIM39110): no check digit, but prefixes that are not given out."""
    prefix = number[:2]
    return (
        prefix[0] not in "DFIQUV"
        and prefix[1] not in "DFIOQUV"
        and prefix not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
    )


def is_uk_nhs(number: str) -> bool:
    """NHS number (NHS Data Dictionary): weights 10 to 2, modulo 11; 10 is never given out."""
    digits = number.replace("-", "")
    check = 11 - sum(w * int(d) for w, d in zip(range(10, 1, -1), digits, strict=False)) % 11
    return len(set(digits)) > 1 and check % 11 == int(digits[9]) and check != 10


def is_br_cpf(number: str) -> bool:
    """Cadastro de Pessoas Físicas (Receita Federal): two check digits modulo 11, eleven equal digits excluded."""
    d = [int(digit) for digit in number if digit.isdigit()]
    first = sum(w * x for w, x in zip(range(10, 1, -1), d, strict=False)) * 10 % 11 % 10
    second = sum(w * x for w, x in zip(range(11, 1, -1), d, strict=False)) * 10 % 11 % 10
    return len(set(d)) > 1 and [first, second] == d[9:]


# Multiplication in the dihedral group of ten elements, and the permutation of a digit by its place (Verhoeff 1969).
_D5 = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_FIRST = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def is_in_aadhaar(number: str) -> bool:
    """Aadhaar (UIDAI): twelve digits that do not begin with 0 or 1, the last a Verhoeff check digit."""
    digits = number.replace("-", "")
    return digits[0] not in "01" and len(set(digits)) > 1 and passes_verhoeff(digits)


def passes_verhoeff(digits: str) -> bool:
    """Whether the last digit checks the others (Verhoeff 1969)."""
    check = 0
    for place, sign in enumerate(reversed(digits)):
        digit = int(sign)
        for _ in range(place % 8):
            digit = _FIRST[digit]
        check = int(_D5[check][digit])
    return check == 0


def _written(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-])(?:{pattern})(?![\w-])(?!\.\d)", re.IGNORECASE)


NATIONAL_IDS: dict[str, Kind] = {
    "us_ssn": Kind(_written(r"\d{3}-\d{2}-\d{4}"), is_us_ssn),
    "es_dni": Kind(_written(r"(?:\d{8}|[XYZ]-?\d{7})-?[A-Z]"), is_es_dni),
    "it_codice_fiscale": Kind(
        _written(r"[A-Z]{6} ?[\dLMNP-V]{2}[ABCDEHLMPRST][\dLMNP-V]{2} ?[A-Z][\dLMNP-V]{3}[A-Z]"), is_it_codice_fiscale
    ),
    "fr_nir": Kind(_written(r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3}[ -]?\d{2}"), is_fr_nir),
    "fi_hetu": Kind(_written(r"\d{6}[-+A-FU-Y]\d{3}[\dA-FHJ-NPR-Y]"), is_fi_hetu),
    "se_personnummer": Kind(_written(r"(?:19|20)?\d{6}[-+]\d{4}"), is_se_personnummer),
    "no_fodselsnummer": Kind(_written(r"\d{6} ?\d{5}"), is_no_fodselsnummer),
    "be_nrn": Kind(_written(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"), is_be_nrn),
    "pl_pesel": Kind(_written(r"\d{11}"), is_pl_pesel, re.compile(r"pesel", re.I)),
    "de_steuer_id": Kind(
        _written(r"\d{2} ?\d{3} ?\d{3} ?\d{3}"),
        is_de_steuer_id,
        re.compile(r"steuer-?\s?(?:id|nr|nummer)|identifikationsnummer|idnr|tax id|\btin\b", re.I),
    ),
    "uk_nino": Kind(_written(r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]"), is_uk_nino),
    "uk_nhs": Kind(
        _written(r"\d{3}[ -]?\d{3}[ -]?\d{4}"), is_uk_nhs, re.compile(r"\bnhs\b|national health service", re.I)
    ),
    "br_cpf": Kind(_written(r"\d{3}\.?\d{3}\.?\d{3}-\d{2}"), is_br_cpf),
    "in_aadhaar": Kind(
        _written(r"\d{4}[ -]?\d{4}[ -]?\d{4}"), is_in_aadhaar, re.compile(r"aadh?aar|adhar\b|uidai|आधार", re.I)
    ),
    "nl_bsn": Kind(_written(r"\d{8,9}"), is_nl_bsn, re.compile(r"\bbsn\b|burgerservicenummer|sofinummer", re.I)),
}
