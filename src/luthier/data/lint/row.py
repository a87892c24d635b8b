"""One row as the rules see it: what several of them need is worked out once, and only when it is asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from luthier.data.content import Content
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair, Source

Kind = Literal["chat", "text", "preference", "kto", "classification"]
Kinds = frozenset[Kind]

ALL_KINDS: Kinds = frozenset({"chat", "text", "preference", "kto", "classification"})
SPOKEN: Kinds = frozenset({"chat", "preference", "kto"})
"""Rows with turns of an assistant."""


@dataclass(frozen=True, slots=True)
class ClassifiedText:
    """A text with its class."""

    text: str
    label: str
    source: Source | None = None


LintItem = Conversation | Document | PreferencePair | LabelledAnswer | ClassifiedText
KIND_OF: dict[type, Kind] = {
    Conversation: "chat",
    Document: "text",
    PreferencePair: "preference",
    LabelledAnswer: "kto",
    ClassifiedText: "classification",
}


class LintRow:
    """A row with its number, counted from 0 over all files.

    Of a preference pair the chosen answer is what is imitated: it stands for the assistant's in `messages` and
    `answers`. An answer labelled bad is no one's to imitate, so its turns are not learnt. A text with a class is a
    question, its class the answer.
    """

    def __init__(self, item: LintItem, number: int) -> None:
        self.item = item
        self.number = number
        self.kind: Kind = KIND_OF[type(item)]

    @property
    def pair(self) -> PreferencePair | None:
        """The row, if it is a preference pair."""
        return self.item if isinstance(self.item, PreferencePair) else None

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """The turns; none for a document."""
        return self.spoken.messages if isinstance(self.spoken, Conversation) else ()

    @cached_property
    def spoken(self) -> Conversation | Document:
        """The row as it would be imitated."""
        item = self.item
        if isinstance(item, Conversation | Document):
            return item
        if isinstance(item, PreferencePair):
            return Conversation((*_context(item.prompt), *item.chosen), source=item.source)
        if isinstance(item, LabelledAnswer):
            answer = item.answer if item.is_good else _context(item.answer)
            return Conversation((*_context(item.prompt), *answer), source=item.source)
        return Conversation((Message("user", item.text), Message("assistant", item.label)), source=item.source)

    @cached_property
    def texts(self) -> list[str]:
        """Everything that was written: contents and reasoning of all turns, rejected ones too, or the document."""
        if isinstance(self.item, Document):
            return [self.item.text]
        rejected = self.item.rejected if isinstance(self.item, PreferencePair) else ()
        return [text for m in (*self.messages, *rejected) for text in (m.thinking, m.content) if text]

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
        """The row normalised, for comparisons; both answers of a pair, no class."""
        if isinstance(self.item, ClassifiedText):
            return Content(Document(self.item.text))
        if isinstance(self.item, PreferencePair):
            return Content(Conversation((*self.item.prompt, *self.item.chosen, *self.item.rejected)))
        return Content(self.spoken)

    @cached_property
    def words_hash(self) -> int:
        """Equal for rows of equal words."""
        return hash_of(self.words.content_key)

    @cached_property
    def content_hash(self) -> int:
        """Equal for rows of equal words and, where there is one, equal verdict or class."""
        if isinstance(self.item, LabelledAnswer):
            return hash_of(f"{self.words_hash} {self.item.is_good}")
        if isinstance(self.item, ClassifiedText):
            return hash_of(f"{self.words_hash} {self.item.label}")
        return self.words_hash

    @cached_property
    def prompt_hash(self) -> int:
        """Equal for rows that ask the same."""
        if isinstance(self.item, PreferencePair | LabelledAnswer):
            # An empty answer behind the prompt: the key is what stands before the last answer.
            return hash_of(Content(Conversation((*self.item.prompt, Message("assistant", "")))).prompt_key)
        return hash_of(self.words.prompt_key)


def hash_of(key: str) -> int:
    """63 bits: that two different texts among a million look equal has a chance of one in 10⁷."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _context(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Turns that are read and not learnt."""
    return tuple(replace(m, train=False) if m.role == "assistant" else m for m in messages)
