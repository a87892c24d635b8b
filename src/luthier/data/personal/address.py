"""Postal addresses of streets, by the ways in which some countries write them: a house number with a street.

    29 Hornsey Road · 1600 Pennsylvania Ave NW · 221B Baker St      number, name, kind of street (English)
    19 rue La Boétie · 12 bis, avenue Foch                          number, kind, name (French)
    Hauptstraße 12 · Grote Markt 3a · Simavikveien 231              a name that ends in its kind, number (German, Dutch, Nordic)
    Calle Mayor 5 · Via Roma, 10 · Rua Augusta 1998                 kind, name, number (Spanish, Italian, Portuguese)
    Apt. 441 · Suite 992 · P.O. Box 123 · Postfach 12 34 · PSC 7004, Box 8380
    Springfield, IL 62704                                           place, state and ZIP code (United States)

Addresses have no check digit and no fixed form: what has no kind of street in it ("Gammelhavn 36", "56 Canelones 2266")
is missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.data.personal.span import Span

_NAME = (
    r"(?:(?!WHERE|AND|OR|FROM|SELECT)[A-ZÀ-ÞŚŻŁĐ][\w'’.-]*|de|del|della|delle|dei|di|da|do|dos|das|la|le|les|los|las"
    r"|du|des|d|l|van|von"
    r"|den|der|of|the|\d{1,3}(?:st|nd|rd|th))"
)
_ENGLISH = (
    r"(?:Street|Str|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Ter|Way"
    r"|Parkway|Pkwy|Highway|Hwy|Circle|Cir|Trail|Close|Crescent|Cres|Gardens|Grove|Mews|Alley|Row|Walk|Esplanade|Quay)\b"
    r"\.?(?: (?:N|S|E|W|NE|NW|SE|SW)\b)?"
)
_STATE = (
    r"(?:A[KLPRZAE]|C[AOT]|D[CE]|FL|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEINOPST]|N[CDEHJMVY]|O[HKR]|P[ARW]|RI|S[CD]|T[NX]|UT"
    r"|V[AIT]|W[AIVY])"
)
# Patterns that begin with a digit are looked for many times faster than those that begin with a word boundary, so what stands
# before a number is looked at afterwards.
_NUMBER_FIRST = re.compile(
    r"\d\d{0,4}(?:[ -]?(?:bis|ter|[A-Za-z]))?"
    rf"(?: (?:{_NAME} ){{1,4}}{_ENGLISH}"
    rf"|,? (?i:rue|avenue|boulevard|place|chemin|allée|impasse|quai|cours|route) (?:{_NAME}[ '’]?){{1,5}}(?<! ))"
)
_ZIP_CODE = re.compile(rf"\b[A-Z][\w.'-]+,? {_STATE} \d{{5}}(?:-\d{{4}})?\b")
_FIVE_DIGITS = re.compile(r"[A-Z] \d{5}\b")
_NAME_FIRST = re.compile(
    r"\b[A-ZÄÖÜÅÆØ][\wäöüßåæø.-]*?(?:straße|strasse|str\.|gasse|weg|platz|allee|damm|ufer|straat|laan|plein|kade"
    r"|gracht|dijk|dreef"
    r"|steenweg|gatan|gata|vägen|väg|vej|veien|vei|katu|kuja) \d{1,4}(?: ?[a-zA-Z])?\b"
    r"|\b[A-ZÄÖÜ][\wäöüß-]+(?: [A-ZÄÖÜ][\wäöüß-]+)? (?:Straße|Strasse|Str\.|Weg|Platz|Allee|Ring|Ufer|Straat|Laan"
    r"|Steenweg|Baan|Markt|Gade|Vej"
    r"|Gata|Gate) \d{1,4}(?: ?[a-zA-Z])?\b"
    rf"|\b(?:Calle|C/|Avenida|Avda\.?|Paseo|Plaza|Via|Viale|Piazza|Corso|Rua|Travessa|Praça|Largo|ul\."
    rf"|ulica) (?:{_NAME} ?){{1,5}}"
    r"(?<! ),?(?: n[.ºo°]*)? \d{1,5}\b"
    rf"|\b(?:Rue|Avenue|Boulevard|Chemin|Place|Camiño|Camino"
    rf"|Trg) (?:{_NAME}[ '’]?){{1,5}}(?<! ),? \d{{1,4}}\b(?![.,]\d)"
    r"|\b(?:Apt|Apartment|Suite|Ste)\.? \d{1,5}[A-Z]?\b|\b(?:PSC|Unit) \d{1,5},? Box \d{1,5}\b"
    r"|\b(?:P\.? ?O\.? Box|Postfach|Postbus|Casella postale|Apartado) \d[\d ]{0,8}(?<! )"
)
# Before the number of every form above stands one of these words, or one with such an end: looked up for each number, because
# the pattern itself costs ten times as much.
_ENDS = (
    *("straße", "strasse", "str.", "gasse", "weg", "platz", "allee", "damm", "ufer", "straat", "laan"),
    *("plein", "kade", "gracht", "dijk", "dreef", "steenweg", "gatan", "gata", "vägen", "väg", "vej"),
    *("vei", "veien", "katu", "kuja"),
)
_WORDS = frozenset(
    (
        *("Straße", "Strasse", "Str.", "Weg", "Platz", "Allee", "Ring", "Ufer", "Straat", "Laan", "Steenweg"),
        *("Baan", "Markt", "Gade", "Vej", "Gata", "Gate", "Calle", "Avenida", "Avda", "Avda.", "Paseo"),
        *("Plaza", "Via", "Viale", "Piazza", "Corso", "Rua", "Travessa", "Praça", "Largo", "ul.", "ulica"),
        *("Rue", "Avenue", "Boulevard", "Chemin", "Place", "Camiño", "Camino", "Trg", "Apt", "Apt."),
        *("Apartment", "Suite", "Ste", "Ste.", "PSC", "Unit", "Box", "Postfach", "Postbus", "postale"),
        "Apartado",
    )
)
_NUMBER = re.compile(r"\d\d{0,4}")
_BEFORE_CHARACTERS = 60
_NOBODYS = re.compile(r"123 Main (?:Street|St)\b")
"""What examples are written with."""


def find_addresses(text: str) -> Iterator[Span]:
    """All that have the form of one."""
    for pattern in _patterns(text):
        for found in pattern.finditer(text):
            is_part = text[max(0, found.start() - 1) : found.start()].isalnum()
            if not is_part and not _NOBODYS.match(found.group()):
                yield Span("address", *found.span())


def _patterns(text: str) -> Iterator[re.Pattern[str]]:
    yield _NUMBER_FIRST
    if _FIVE_DIGITS.search(text):
        yield _ZIP_CODE
    if any(_follows_street(text, number.start()) for number in _NUMBER.finditer(text)):
        yield _NAME_FIRST


def _follows_street(text: str, start: int) -> bool:
    words = text[max(0, start - _BEFORE_CHARACTERS) : start].split()
    return bool(words) and (words[-1].endswith(_ENDS) or not _WORDS.isdisjoint(words) or "C/" in words[-1])
