"""White space at the beginning and end of texts is taken away.

A first line that is indented like others after it is code that goes on: its indent stays. Line breaks and double blanks inside a
text stay, for markdown means something by them.
"""

from __future__ import annotations

import re

from luthier.data.clean.repair import Mend, RepairRow, text_edits

_BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_INDENT = re.compile(r"\A[^\S\n]+")


def repaired(text: str, row: RepairRow | None = None) -> str:
    """The text without it."""
    del row
    text = _BLANK_LINES.sub("", text.rstrip())
    indent = _INDENT.match(text)
    if indent is None or f"\n{indent.group()}" in text:
        return text
    return text.lstrip()


def _is_left(*_: object) -> bool:
    return False


REPAIR = Mend("white_space", "take white space from the ends of texts", True, text_edits(repaired), _is_left)
