"""What counts as the same text: rows compared by their words, whatever their case, punctuation and spacing."""

from __future__ import annotations

import re
from functools import cached_property

from luthier.types import Conversation, Document

Item = Conversation | Document

# Han and kana are written without spaces: each sign is a word of its own.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]+")
_LETTERS = re.compile(r"\w")
_LETTERED = re.compile(rf"[{_UNSPACED}](?<=\w)|[^\W{_UNSPACED}]+")
_ASCII_WORDS = bytes(
    ord(chr(c).lower()) if chr(c).isalnum() or c == ord("_") else ord(" ") for c in range(128)
) + bytes(128)
"""Translates ASCII letters to lower case and all that is no part of a word to a space."""


def normalised(text: str) -> str:
    """Words alone, lower case; a text without a single word (``<=``) keeps its signs, so that it stays distinct."""
    # The first is ten times as fast, and most text is ASCII.
    quick = text.encode().translate(_ASCII_WORDS).decode().split() if text.isascii() else None
    words = _LETTERED.findall(text.lower()) if quick is None else quick
    return " ".join(words or _WORD.findall(text.lower()))


def end_of_words(text: str, count: int) -> int:
    """Where in a text its first `count` words end."""
    for found in _WORD.finditer(text):
        count -= _LETTERS.match(found.group()) is not None
        if count <= 0:
            return found.end()
    return len(text)


def prompt_key(item: Item) -> str:
    """What the last assistant turn answers, normalised and with roles; for texts without a question, the content."""
    return Content(item).prompt_key


def content_key(item: Item) -> str:
    """The whole row, normalised and with roles."""
    return Content(item).content_key


class Content:
    """One row's words, normalised once for everything that compares them."""

    def __init__(self, item: Item) -> None:
        self.item = item

    @cached_property
    def texts(self) -> list[str]:
        """Each message normalised; of a document, its text."""
        if isinstance(self.item, Document):
            return [normalised(self.item.text)]
        return [normalised(message.content) for message in self.item.messages]

    @cached_property
    def content_key(self) -> str:
        """The whole row with roles."""
        return self.texts[0] if isinstance(self.item, Document) else self._keyed(self.item, len(self.texts))

    @cached_property
    def prompt_key(self) -> str:
        """What the last assistant turn answers; the whole row where nothing but system messages comes before it."""
        if isinstance(self.item, Document):
            return self.content_key
        messages = self.item.messages
        last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=len(messages))
        if all(m.role == "system" for m in messages[:last]):
            return self.content_key
        return self._keyed(self.item, last)

    @cached_property
    def compared(self) -> str:
        """The words that near duplicates are found by: all but system messages."""
        if isinstance(self.item, Document):
            return self.texts[0]
        return " ".join(t for t, m in zip(self.texts, self.item.messages, strict=True) if m.role != "system" and t)

    def _keyed(self, item: Conversation, num_messages: int) -> str:
        pairs = zip(item.messages[:num_messages], self.texts[:num_messages], strict=True)
        return "\n".join(f"{m.role}: {text} {m.tool_calls or ''}" for m, text in pairs)
