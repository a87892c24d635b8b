"""Tags and entities of HTML in prose become text: breaks lines, items ``- ``, links ``text (address)``, entities their sign.

Only the tags that the rule names: ``List<String>`` and ``a < b`` stay. So does all that stands in code, and rows that are about
HTML. A tag that was written as one (``&lt;b&gt;``) becomes code: `` `<b>` ``.
"""

from __future__ import annotations

import html
import re

from luthier.data.clean.repair import Mend, RepairRow, found_by, judge_of, text_edits
from luthier.data.lint.html_remnants import CODE, RULE, TAG

_MOST_LAYERS = 5
_INVISIBLE = re.compile(r"<!--.*?-->|<(script|style|iframe)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_LINK = re.compile(
    r"<a\b[^<>]*?\bhref\s*=\s*[\"']?(https?://[^\"'\s<>]+)[^<>]*>(.*?)</a\s*>", re.IGNORECASE | re.DOTALL
)
_IMAGE = re.compile(r"<img\b[^<>]*?\balt\s*=\s*(?:\"([^\"<>]*)\"|'([^'<>]*)')[^<>]*>", re.IGNORECASE)
_ESCAPED_TAG = re.compile(r"(?<!`)&lt;(/?[a-zA-Z][^&<>`\n]{0,200})&gt;(?!`)")
_NAME = re.compile(r"</?(\w+)")
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "table", "section", "article", "hr"})
_LINES = frozenset({"br", "div", "tr", "ul", "ol", "tbody", "center"})
# Signs for private use stand for breaks until all of them are known: neighbours become one.
_LINE, _PARAGRAPH = "\ue000", "\ue001"
_BREAKS = re.compile(f"[ \t\n]*[{_LINE}{_PARAGRAPH}][ \t\n{_LINE}{_PARAGRAPH}]*")
_LAST_CELL = re.compile(f"[ \t]*\\|[ \t]*(?=[{_LINE}{_PARAGRAPH}])")
_judge = judge_of(RULE)


def repaired(text: str, row: RepairRow) -> str:
    """The text without remnants, if the row has any where they do not belong."""
    if ("<" not in text and "&" not in text) or _judge(row.lint) is None:
        return text
    for _ in range(_MOST_LAYERS):
        outside = _outside_code(text)
        if not any(TAG.search(piece) for piece in outside[::2]):
            break
        text = "".join(piece if index % 2 else to_text(piece) for index, piece in enumerate(outside))
    return text


def _outside_code(text: str) -> list[str]:
    """Prose, code, prose, …"""
    pieces: list[str] = []
    end = 0
    for found in CODE.finditer(text):
        pieces += [text[end : found.start()], found.group()]
        end = found.end()
    return [*pieces, text[end:]]


def to_text(prose: str) -> str:
    """One layer of HTML as text."""
    if not TAG.search(prose) or _LINE in prose or _PARAGRAPH in prose:
        return prose
    prose = _INVISIBLE.sub("", prose)
    prose = _LINK.sub(lambda m: m[2] if m[1] in m[2] else f"{m[2]} ({m[1]})", prose)
    prose = _IMAGE.sub(lambda m: m[1] or m[2] or "", prose)
    prose = _ESCAPED_TAG.sub(_as_code, prose)
    text = "".join(piece if index % 2 else TAG.sub(_sign, piece) for index, piece in enumerate(_outside_code(prose)))
    text = _LAST_CELL.sub("", text)
    text = _BREAKS.sub(lambda found: "\n\n" if _PARAGRAPH in found.group() else "\n", text)
    # Breaks at the ends come from tags around the whole text.
    text = text if prose.startswith("\n") else text.lstrip("\n")
    return text if prose.endswith("\n") else text.rstrip("\n")


def _as_code(found: re.Match[str]) -> str:
    tag = f"<{html.unescape(found[1])}>"
    return f"`{tag}`" if TAG.fullmatch(tag) else found.group()


def _sign(found: re.Match[str]) -> str:
    sign = found.group()
    if sign.startswith("&"):
        return html.unescape(sign).replace("\xa0", " ")
    name = _NAME.match(sign)
    tag = name[1].lower() if name else ""
    if tag in _PARAGRAPHS:
        return _PARAGRAPH
    if tag in _LINES:
        return _LINE
    if tag == "li":
        return "" if sign.startswith("</") else f"{_LINE}- "
    return " | " if tag in ("td", "th") and sign.startswith("</") else ""


REPAIR = Mend("html_remnants", "turn tags and entities into text", True, text_edits(repaired), found_by(RULE))
