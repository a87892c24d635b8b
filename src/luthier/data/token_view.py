"""A few tokenised rows as one can look at them: each token's text, its id, and whether it is learnt.

Made from the very arrays that training reads, so it shows what is learnt and not what should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from luthier.data.answers import separate
from luthier.data.example import Example, Part
from luthier.data.tokenize import TokenizedSet
from luthier.data.tokenizer_check import decode_text

MOST_TOKENS = 400
"""Shown of one row; of a longer one its beginning and its end, where the last answer is."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One example.

    Attributes:
        source: Where its row came from; empty where that is not known.
        num_tokens: All of them.
        num_trained: Those that are learnt, of all.
        ids: Token ids that are shown.
        pieces: Text of each. Characters made of several tokens stand with the last of these; the others are empty.
        trained: Whether each is learnt.
        gap_before: Place of the shown token before which `num_tokens - len(ids)` are left out; 0 where all are shown.
        part: Which of several answers of its row it ends with; empty where there is one.
    """

    source: str
    num_tokens: int
    num_trained: int
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    trained: tuple[bool, ...]
    gap_before: int
    part: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in token_view.json."""
        return asdict(self)


def view_rows(tokens: TokenizedSet, tokenizer: PreTrainedTokenizerBase, most: int) -> list[tuple[int, TokenRow]]:
    """Examples from the shortest to the longest, evenly spread over the lengths; each with the number of its row.

    Of a row with several answers, each answer behind the prompt; not those that are scored only.
    """
    order = np.argsort(tokens.lengths, kind="stable")
    places = np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)) if len(order) else []
    views: list[tuple[int, TokenRow]] = []
    for index in (int(order[place]) for place in places):
        branches = separate(tokens[index])
        shown = [branch for branch in branches if branch.segments[0].part != Part.MISMATCHED]
        views += [(int(tokens.rows[index]), _view(branch, tokenizer)) for branch in shown]
    return views


def view_row(tokens: TokenizedSet, index: int, tokenizer: PreTrainedTokenizerBase) -> TokenRow:
    """One example of a set."""
    return _view(tokens[index], tokenizer)


def _view(example: Example, tokenizer: PreTrainedTokenizerBase) -> TokenRow:
    segments = example.segments
    ids = np.concatenate([segment.ids for segment in segments]).tolist()
    trained = np.concatenate([segment.weights > 0 for segment in segments]).tolist()
    parts = [(0, len(ids))]
    if len(ids) > MOST_TOKENS:
        parts = [(0, MOST_TOKENS // 2), (len(ids) - MOST_TOKENS // 2, len(ids))]
    return TokenRow(
        source="",
        num_tokens=len(ids),
        num_trained=sum(trained),
        ids=tuple(i for start, end in parts for i in ids[start:end]),
        pieces=tuple(p for start, end in parts for p in text_pieces(ids[start:end], tokenizer)),
        trained=tuple(t for start, end in parts for t in trained[start:end]),
        gap_before=parts[0][1] if len(parts) > 1 else 0,
        part="" if segments[-1].part == Part.TEXT else segments[-1].part.name.lower(),
    )


def text_pieces(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What each token adds to the text of those before it; together they are the text.

    A token alone may decode to something else than it does in its place: SentencePiece drops the first space, and a character
    of several tokens is incomplete until its last.
    """
    pieces: list[str] = []
    shown = ""
    for end in range(1, len(ids) + 1):
        text = decode_text(tokenizer, ids[:end])
        is_whole = end == len(ids) or not text.endswith("\N{REPLACEMENT CHARACTER}")
        pieces.append(text[len(shown) :] if is_whole else "")
        shown = text if is_whole else shown
    return pieces
