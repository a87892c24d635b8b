"""The token view: pieces join to the text, flags are those of the training arrays, long rows show both ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers

from luthier.data.example import Example, Segment
from luthier.data.token_view import MOST_TOKENS, text_pieces, view_row, view_rows
from luthier.data.tokenize import TokenizedSet
from tests.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_tokenizer()


def example(row: int, ids: list[int], trained: list[int]) -> Example:
    weights = np.zeros(len(ids), np.float32)
    weights[trained] = 1.0
    return Example(row, (Segment(np.array(ids, np.int32), weights),))


@pytest.mark.parametrize(
    "text", ["SELECT name", "Größe – naïve", "快速的 🦊 速い", "<|im_start|>user\nhi<|im_end|>\n", "a\ufffdb", ""]
)
def test_pieces_join_to_the_text(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False).input_ids
    pieces = text_pieces(ids, tokenizer)
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text


def test_a_character_of_several_tokens_stands_with_the_last(tokenizer: Any) -> None:
    ids = tokenizer("a🦊", add_special_tokens=False).input_ids  # four bytes, which this tokenizer knows one by one
    assert text_pieces(ids, tokenizer) == ["a", "", "", "", "🦊"]


def test_spaces_that_a_tokenizer_drops_at_the_beginning_are_kept_between_words() -> None:
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(vocab={"▁": 0, "h": 1, "i": 2, "▁hi": 3, "▁h": 4}, merges=[("▁", "h"), ("▁h", "i")]))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    assert text_pieces([3, 3], PreTrainedTokenizerFast(tokenizer_object=backend)) == ["hi", " hi"]


def test_a_row_shows_what_training_reads(tokenizer: Any) -> None:
    ids = tokenizer("red blue", add_special_tokens=False).input_ids
    row = view_row(TokenizedSet.from_examples([example(7, ids, [2, 4])]), 0, tokenizer)
    assert row.ids == tuple(ids)
    assert [place for place, flag in enumerate(row.trained) if flag] == [2, 4]
    assert (row.num_tokens, row.num_trained, row.gap_before) == (len(ids), 2, 0)


def test_of_a_long_row_both_ends_are_shown(tokenizer: Any) -> None:
    length = MOST_TOKENS + 100
    ids = [3 + i % 200 for i in range(length)]
    row = view_row(TokenizedSet.from_examples([example(0, ids, [1, 250, length - 1])]), 0, tokenizer)
    assert len(row.ids) == len(row.pieces) == len(row.trained) == MOST_TOKENS
    assert row.ids[: row.gap_before] == tuple(ids[: MOST_TOKENS // 2])
    assert row.ids[row.gap_before :] == tuple(ids[-MOST_TOKENS // 2 :])
    assert (row.num_tokens, row.num_trained, sum(row.trained)) == (length, 3, 2)


def test_rows_are_spread_from_the_shortest_to_the_longest(tokenizer: Any) -> None:
    lengths = [9, 2, 5, 3, 8, 4, 7, 6, 10]
    tokens = TokenizedSet.from_examples([example(100 + n, list(range(3, 3 + n)), [n - 1]) for n in lengths])
    shown = view_rows(tokens, tokenizer, 5)
    assert [row.num_tokens for _, row in shown] == [2, 4, 6, 8, 10]
    assert [number for number, _ in shown] == [102, 104, 106, 108, 110]
    assert len(view_rows(tokens, tokenizer, 50)) == 9
    assert view_rows(TokenizedSet.from_examples([]), tokenizer, 5) == []
