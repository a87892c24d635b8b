"""A row of the training data as tokens: what stands before its last answer, and that answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from luthier.data.hash_sample import HashSample
from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.types import Conversation, Document


class AnswerParts(NamedTuple):
    """A row in tokens.

    Attributes:
        row: As it was read.
        before_ids: All that stands before the learnt text.
        answer_ids: The last answer, or a document's text; without what ends it.
    """

    row: Conversation | Document
    before_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]


def answer_parts(template: ChatTemplate, row: Conversation | Document) -> AnswerParts | None:
    """None where the row has no answer, or the template refuses it (as it did in training)."""
    try:
        if isinstance(row, Document):
            ids = template.encode_document(row).ids.tolist()[:-1]
            start = min(1, len(ids))
            return AnswerParts(row, tuple(ids[:start]), tuple(ids[start:]))
        last = max((i for i, m in enumerate(row.messages) if m.role == "assistant" and m.is_trained), default=None)
        if last is None:
            return None
        asked = [replace(m, train=False) if m.role == "assistant" else m for m in row.messages[:last]]
        rendered = template.encode(Conversation((*asked, row.messages[last]), row.tools, row.source))
    except DataError:
        return None
    places = np.flatnonzero(rendered.trained)
    if not len(places):
        return None
    ids = rendered.ids.tolist()
    answer = ids[places[0] : places[-1] + 1]
    while answer and answer[-1] in template.end_of_turn_ids:
        answer.pop()
    return AnswerParts(row, tuple(ids[: places[0]]), tuple(answer))


def sample_rows(rows: Sequence[Conversation | Document], most: int) -> list[Conversation | Document]:
    """At most so many rows, the same ones whatever their order; equal rows count once."""
    sample = HashSample[Conversation | Document](most)
    for row in rows:
        text = row.text if isinstance(row, Document) else repr([(m.role, m.content) for m in row.messages])
        sample.add(int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()), row)
    return sample.values()


def question_of(row: Conversation | Document) -> str:
    """What the row asks, for people."""
    if isinstance(row, Document):
        return ""
    last = max(i for i, m in enumerate(row.messages) if m.role == "assistant")
    return row.messages[last - 1].content if last else ""
