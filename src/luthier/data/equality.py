"""When two rows are equal: in everything that is learnt from, but for white space at the ends of texts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from luthier.data.formats import classified_columns
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair

AnyItem = Conversation | Document | PreferencePair | LabelledAnswer


def equality_digest(item: AnyItem, label: str = "") -> bytes:
    """12 bytes that only equal rows share: two different ones among a million with a chance of one in 10¹⁷.

    Args:
        item: What the row says.
        label: What it says beside: the class of a text.
    """
    whole = f"{label}\n{_everything(item)}"
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def class_of(values: Mapping[str, Any], format: str) -> str:
    """The class of a classified text, which is no part of the text; "" for rows of other layouts."""
    columns = classified_columns(values) if format == "classification" else None
    return "" if columns is None else repr(values[columns[1]])


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
