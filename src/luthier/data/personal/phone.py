"""Phone numbers, in the ways in which people of many countries write them.

A number is taken for a phone number by its shape where the shape says enough: an international prefix, an area code in
brackets, North America's three-three-four, an extension. Other groups of digits need a word before them ("call", "Tel.") or a
line of their own. Dates, years, amounts, ISBNs and other numbers have shapes of their own and are left alone, and so are
North American numbers that are reserved for fiction (555-0100 to 555-0199): they are nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from luthier.data.personal.span import Span

_CANDIDATE = re.compile(
    r"(?<![\w./#$€£=^*+<-])(?<!\d,)(?<![\d)] )(?:\+ ?|\(\+)?\(?\d[\d ().\-/]{5,20}\d"
    r"(?: ?(?:x|ext\.? ?|#)\d{1,6})?(?![\w%])(?![.,:/-]\d)"
)
_EXTENSION = re.compile(r" ?(?:x|ext\.? ?|#)\d{1,6}\Z")
_FICTION = re.compile(r"(?:(?:\+ ?|00)?1[ .-]?)?(?:\(\d{3}\)|\d{3})?[ .-]?555[ .-]?01\d\d")
_LEAST_DIGITS, _MOST_DIGITS = 7, 15

_STRONG = re.compile(
    r"\(?\+ ?\d[ \d().\-/]{7,}|00[1-9]\d{0,2}[ .\-/(][ \d().\-/]{6,}"  # international
    r"|(?:\+?1[ .-]?|001[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"  # North America
    r"|\(\d{2,5}\)[ -]?\d{2,8}(?:[ -]\d{2,6}){0,3}"  # an area code in brackets
)
_WEAK = re.compile(r"0?\d{1,5}(?:[ .\-/]\d{2,8}){1,5}|0\d{6,13}|\d{7,10}")
_OTHER = re.compile(
    r"(?:19|20)\d\d ?[-–/ ] ?(?:19|20)\d\d"  # years
    r"|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?: \d\d?)?"  # a date
    r"|\d{3}-\d{2}-\d{4}"  # social security
    r"|97[89](?:[- ]?\d){10}"  # ISBN
    r"|\d{1,3}(?:[ .]000)+"  # a round amount
)
_WORD_BEFORE = re.compile(
    r"\b(?:tele)?phone|\btel\b|\bcall(?:ed|ing|s)?\b|\bmobile\b|\bcell\b|\bfax\b|\breach(?:able)?\b|\bring\b|\bdial\b"
    r"|whats ?app|\bcontact\b|\banswer\w* at\b|\btext (?:me|him|her|us)\b|\bhotline"
    r"|\bhandy|\btelefon|\bt[ée]l[ée]?\b|\btlf\b|\bmóvil|电话|手机|電話",
    re.IGNORECASE,
)
_WORD_AFTER = re.compile(r"[ \t(\-]{0,3}(?:office|fax|mobile|phone|home|work|cell)\b", re.IGNORECASE)
_BEFORE_CHARACTERS, _AFTER_CHARACTERS = 45, 14
_BEFORE_BARE_CHARACTERS = 18
"""Digits in one piece may be any number: the word must be next to them."""


def find_phones(text: str) -> Iterator[Span]:
    """All numbers that look like phone numbers where they stand."""
    for found in _CANDIDATE.finditer(text):
        start, end = found.start(), found.end()
        if _FICTION.fullmatch(found.group()):
            continue
        if is_phone(found.group()) or (_is_group(found.group()) and _is_named(text, start, end)):
            yield Span("phone", start, end)


def is_phone(written: str) -> bool:
    """Whether a number is a phone number by its shape alone."""
    number = _EXTENSION.sub("", written)
    if not _has_length(number) or _OTHER.fullmatch(number):
        return False
    has_extension = number != written
    return _STRONG.fullmatch(number) is not None or (has_extension and _WEAK.fullmatch(number) is not None)


def _is_group(written: str) -> bool:
    return _has_length(written) and _WEAK.fullmatch(written) is not None and not _OTHER.fullmatch(written)


def _has_length(number: str) -> bool:
    return _LEAST_DIGITS <= sum(map(str.isdigit, number)) <= _MOST_DIGITS and number.count("(") == number.count(")")


def _is_named(text: str, start: int, end: int) -> bool:
    """Whether a word or the line says that the digits are a phone number."""
    is_bare = text[start:end].isdigit()
    word = _WORD_BEFORE.search(
        text, max(0, start - (_BEFORE_BARE_CHARACTERS if is_bare else _BEFORE_CHARACTERS)), start
    )
    if word is not None and not (is_bare and re.search(r"[\d(\['\"]", text[word.end() : start])):
        return True
    after = text[end : end + _AFTER_CHARACTERS]
    return _WORD_AFTER.match(after) is not None
