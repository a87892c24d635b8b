"""A template whose tokens can be counted by hand: one token per byte, one before each turn, one after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from luthier.errors import DataError
from luthier.types import Conversation, Document

ROLES = {"system": 256, "user": 257, "assistant": 258, "tool": 259}
END = 260
BOS = 261


class Rendered(NamedTuple):
    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    text: str


class FakeTemplate:
    def __init__(self, fingerprint: str = "fake", words: tuple[str, ...] = ("a", "b")) -> None:
        self.fingerprint = fingerprint
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=words[0]))
        )
        self.num_encoded = 0

    def encode_rows(self, rows: Sequence[Conversation | Document]) -> list[tuple[Rendered, ...] | DataError]:
        results: list[tuple[Rendered, ...] | DataError] = []
        for row in rows:
            try:
                results.append((self.encode_document(row),) if isinstance(row, Document) else self.encode_turns(row))
            except DataError as error:
                results.append(error)
        return results

    has_markers = False

    def marker_mismatch(self, conversation: Conversation) -> str | None:
        raise AssertionError("there are no markers")

    def special_tokens_in_content(self, conversation: Conversation) -> list[str]:
        return [word for m in conversation.messages for word in m.content.split() if word.startswith("<|")]

    def num_thinking_tokens_lost(self, conversation: Conversation, *, by_turn: bool = False) -> int:
        assert by_turn
        return sum(len(m.thinking or "") for m in conversation.messages)

    def encode_turns(self, conversation: Conversation) -> tuple[Rendered, ...]:
        return (self.encode(conversation),)

    def encode(self, conversation: Conversation) -> Rendered:
        self.num_encoded += 1
        ids: list[int] = []
        trained: list[bool] = []
        for message in conversation.messages:
            turn = [*message.content.encode(), END]
            ids += [ROLES[message.role], *turn]
            trained += [False, *[message.is_trained] * len(turn)]
        return Rendered(np.array(ids, np.int32), np.array(trained, bool), "")

    def encode_document(self, document: Document) -> Rendered:
        self.num_encoded += 1
        ids = [BOS, *document.text.encode(), END]
        return Rendered(np.array(ids, np.int32), np.ones(len(ids), bool), document.text)
