"""Finds: tags and entities of HTML left in prose (``<br>``, ``&nbsp;``).

Hurts: the model learns to write them. Text in code blocks, and rows that are about HTML, are left alone.
Do: convert to text; `ftfy.fix_text` and an HTML-to-text converter do it.
"""

from __future__ import annotations

import re

from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule, around

TAG = re.compile(
    r"</?(?:p|div|span|br|b|i|u|em|strong|a|ul|ol|li|h[1-6]|table|tbody|tr|td|th|img|font|center|blockquote|hr|section|article)"
    r"(?:\s+[\w-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s<>]+))*\s*/?>"
    r"|<!--.{0,400}?-->|<(?:script|style|iframe)\b[^<>]{0,400}>"
    r"|&(?:nbsp|amp|lt|gt|quot|apos|rsquo|lsquo|rdquo|ldquo|mdash|ndash|hellip|copy|reg|#\d{2,6}|#x[0-9a-f]{2,5});",
    re.IGNORECASE | re.DOTALL,
)
_ABOUT_MARKUP = re.compile(
    r"\bx?html5?\b|\bxml\b|\bcss\b|javascript"
    r"|\bjsx\b|\breact\b|\bvue\b|\bsvg\b|\bweb ?(?:page|site)\b|网页"
    r"|<!doctype|<(?:html|body|head)\b",
    re.IGNORECASE,
)
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)


def _judge(row: LintRow) -> str | None:
    if "<" not in row.whole and "&" not in row.whole:
        return None
    for text in row.texts:
        if not TAG.search(text):
            continue
        prose = CODE.sub(" ", text) if "`" in text else text
        if (found := TAG.search(prose)) and not _ABOUT_MARKUP.search(row.whole):
            return around(prose, *found.span())
    return None


RULE: Rule = RowRule(
    name="html_remnants",
    severity="warning",
    looks_at="all texts, outside code",
    judge=_judge,
    says="{rows} {contain} tags or entities of HTML in prose: the model learns to write them.",
    fix="Convert them to text.",
)
