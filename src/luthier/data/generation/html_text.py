"""HTML → the words that a reader sees, with blank lines between blocks and ``#`` before headings."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_HIDDEN = frozenset(
    ("script", "style", "noscript", "template", "svg", "head", "nav", "footer", "form", "button", "select")
)
_BLOCKS = {
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "caption",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
    ),
    *(
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
    ),
    *("table", "tbody", "tr", "ul"),
}

_KEPT_SPACE = "\ue000"
"""A space of preformatted text, while others are joined: a sign that no text has."""


def html_to_text(html: str) -> str:
    """The text of a page, without menus, forms and code that is not shown."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    text = "".join(reader.pieces)
    text = re.sub(r"[ \t\r\f\v\xa0]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip().replace(_KEPT_SPACE, " ")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._hidden = 0
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _HIDDEN:
            self._hidden += 1
        elif tag in _BLOCKS:
            self._write("\n\n")
            if re.fullmatch("h[1-6]", tag):
                self._write("#" * int(tag[1]) + " ")
            elif tag == "li":
                self._write("- ")
            self._pre += tag == "pre"
        elif tag == "br":
            self._write("\n")
        elif tag in ("td", "th"):
            self._write(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _BLOCKS:
            self._pre = max(0, self._pre - (tag == "pre"))
            self._write("\n\n")

    def handle_data(self, data: str) -> None:
        self._write(data.expandtabs(4).replace(" ", _KEPT_SPACE) if self._pre else re.sub(r"\s+", " ", data))

    def _write(self, text: str) -> None:
        if not self._hidden:
            self.pieces.append(text)
