"""When two rows are equal: in everything that is learnt from, but for white space at the ends of texts."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair

AnyItem = Conversation | Document | PreferencePair | LabelledAnswer


def equality_digest(item: AnyItem) -> bytes:
    """12 bytes that only equal rows share: two different ones among a million with a chance of one in 10¹⁷."""
    return hashlib.blake2b(_everything(item).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _everything(item: AnyItem) -> str:
    """All that is learnt from, in a form that only equal rows share."""
    if isinstance(item, Document):
        return item.text.strip()
    if isinstance(item, Conversation):
        return repr([*map(_whole, item.messages), item.tools])
    if isinstance(item, LabelledAnswer):
        return repr([[*map(_whole, item.prompt)], [*map(_whole, item.answer)], item.is_good])
    return repr([[_whole(m) for m in part] for part in (item.prompt, item.chosen, item.rejected)])


def _whole(message: Message) -> Message:
    return replace(message, content=message.content.strip())
