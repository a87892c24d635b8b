"""Finds: text that was decoded with the wrong encoding (``schÃ¶n``, ``donâ€™t``).

Hurts: the model learns garbled words, and tokens that the right spelling never has.
Do: read the source as what it is (usually UTF-8), or repair the text with `ftfy`.

A cheap look for the signs that such text is made of comes first; ftfy's statistics decide.
"""

from __future__ import annotations

import re

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule, around

_SUSPECT = re.compile(
    r"[\u00c2-\u00ef\u0152\u0153\u0178\u0102\u0103\u0413\u0420\u0421][\x80-\xbf\u0192\u02c6\u02dc\u2013-\u2022\u2026\u2030\u2039\u203a"
    r"\u20ac\u2122\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0403\u0453\u0409\u040a\u2116]"
)


def _judge(row: LintRow) -> str | None:
    if row.whole.isascii():
        return None
    for text in row.texts:
        found = _SUSPECT.search(text)
        if found and is_garbled(text):
            return around(text, *found.span())
    return None


def is_garbled(text: str) -> bool:
    """Whether ftfy finds sequences that only a wrong decoding makes."""
    from ftfy.badness import is_bad

    return is_bad(text)


RULE: Rule = RowRule(
    name="mojibake",
    severity="warning",
    looks_at="all texts",
    judge=_judge,
    says="{rows} {contain} text that was decoded with the wrong encoding.",
    fix="Read the source with its true encoding (usually UTF-8), or repair it with ftfy.",
)
