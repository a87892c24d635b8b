"""Texts that were decoded with the wrong encoding are decoded with the right one (``schÃ¶n`` → ``schön``).

Only the encoding is repaired (`ftfy.fix_encoding`): quotes, ligatures and widths of letters stay as they are.
"""

from __future__ import annotations

from luthier.data.clean.repair import Mend, RepairRow, found_by, text_edits
from luthier.data.lint.mojibake import RULE, is_garbled


def repaired(text: str, row: RepairRow | None = None) -> str:
    """The text as it was meant; what ftfy cannot explain stays."""
    del row
    if text.isascii() or not is_garbled(text):
        return text
    from ftfy import fix_encoding

    return fix_encoding(text)


REPAIR = Mend("mojibake", "decode with the right encoding (ftfy)", True, text_edits(repaired), found_by(RULE))
