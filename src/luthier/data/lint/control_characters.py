"""Finds: characters that nobody sees: control codes, replacement signs, zero-width spaces, byte order marks, direction overrides.

Hurts: they are tokens like any other and split words; a replacement sign (U+FFFD) says that something was lost for good.
Joiners (U+200D, U+200C) belong to emoji and to several scripts and are left alone.
Do: remove them; look up what a replacement sign stood for.
"""

from __future__ import annotations

import re
import unicodedata

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule, around

INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b\u2060"
    "\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffd\ufffe\uffff]"
)


def _judge(row: LintRow) -> str | None:
    found = INVISIBLE.search(row.whole)
    if found is None:
        return None
    sign = found.group()
    name = unicodedata.name(sign, "control code").lower()
    return f"U+{ord(sign):04X} {name} in {around(row.whole, *found.span())}"


RULE: Rule = RowRule(
    name="control_characters",
    severity="warning",
    looks_at="all texts",
    judge=_judge,
    says="{rows} {contain} control codes or invisible characters: they are tokens like any other and split words.",
    fix="Remove them; where it is a replacement sign (U+FFFD), look up what was lost.",
)
