"""One row as the rules see it: what several of them need is worked out once, and only when it is asked for."""

from __future__ import annotations

import hashlib
from functools import cached_property

from luthier.data.content import Content, Item
from luthier.types import Conversation, Document, Message


class LintRow:
    """A row with its number, counted from 0 over all files."""

    def __init__(self, item: Item, number: int) -> None:
        self.item = item
        self.number = number

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """The turns; none for a document."""
        return self.item.messages if isinstance(self.item, Conversation) else ()

    @cached_property
    def texts(self) -> list[str]:
        """Everything that was written: contents and reasoning of all turns, or the document."""
        if isinstance(self.item, Document):
            return [self.item.text]
        return [text for m in self.messages for text in (m.thinking, m.content) if text]

    @cached_property
    def whole(self) -> str:
        """All texts, one after the other."""
        return self.texts[0] if len(self.texts) == 1 else "\n".join(self.texts)

    @cached_property
    def answers(self) -> list[str]:
        """Contents of the assistant turns that are learnt, without those that only call tools."""
        return [m.content for m in self.messages if m.role == "assistant" and m.is_trained and m.content.strip()]

    @cached_property
    def answered(self) -> str:
        """All answers; of a document, its text."""
        return self.item.text if isinstance(self.item, Document) else "\n".join(self.answers)

    @cached_property
    def prompts(self) -> str:
        """What the user wrote."""
        return "\n".join(m.content for m in self.messages if m.role == "user")

    @cached_property
    def words(self) -> Content:
        """The row normalised, for comparisons."""
        return Content(self.item)

    @cached_property
    def content_hash(self) -> int:
        """Equal for rows of equal words."""
        return _hash(self.words.content_key)

    @cached_property
    def prompt_hash(self) -> int:
        """Equal for rows that ask the same."""
        return _hash(self.words.prompt_key)


def _hash(key: str) -> int:
    """63 bits: that two different texts among a million look equal has a chance of one in 10⁷."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
