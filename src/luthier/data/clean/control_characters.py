"""Characters that nobody sees are taken out: control codes, terminal escapes, zero-width spaces, direction overrides.

Line and page separators become line breaks; codes 128 to 159 are what Windows means by them, where it means anything. Replacement
signs (U+FFFD) stay, because what they stand for is lost, and a word without its letter is a wrong word.
"""

from __future__ import annotations

import re

from luthier.data.clean.repair import Mend, RepairRow, found_by, text_edits
from luthier.data.lint.control_characters import INVISIBLE, RULE

_LINE_BREAKS = re.compile("[\x0b\x0c\u2028\u2029]")
_WINDOWS = re.compile("[\x80-\x9f]")


def repaired(text: str, row: RepairRow | None = None) -> str:
    """The text without them."""
    del row
    if not INVISIBLE.search(text):
        return text
    from ftfy.fixes import fix_c1_controls, remove_terminal_escapes

    text = remove_terminal_escapes(text)
    if _WINDOWS.search(text):
        text = fix_c1_controls(text)
    text = _LINE_BREAKS.sub("\n", text)
    return INVISIBLE.sub(lambda found: found.group() if found.group() == "\ufffd" else "", text)


REPAIR = Mend(
    "control_characters",
    "take out control codes and invisible characters",
    True,
    text_edits(repaired),
    found_by(RULE),
)
