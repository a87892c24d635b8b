"""Rendered text to token ids, with the place of each token in the text.

The text is tokenised once and without added special tokens: the template has written them. It is cut in two cases only.
Where a person typed the string of a control token, that stretch is tokenised as if the control token did not exist. And where
a token would reach from the generation prompt into an answer (an answer that begins with a space, behind a newline), the
answer begins a token of its own: a server's prompt ends there, so that is what the model has to go on from.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from luthier.data.piecewise import LONG_CHARACTERS, Encoded, PieceEncoder
from luthier.data.rendering import Rendering
from luthier.data.tokenizer_check import backend_of
from luthier.errors import ModelError

_MANY_TEXTS = 20
"""From so many texts on, a table of words is worth its making."""


class TextEncoder:
    """Tokenises renderings.

    Raises:
        ModelError: The tokenizer cannot tell which characters a token stands for.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.is_fast:
            raise ModelError(
                f"{type(tokenizer).__name__} does not tell which characters a token stands for, so no training mask can be "
                "made. Use the model's tokenizer.json (a 'fast' tokenizer)."
            )
        self._tokenizer = tokenizer
        self._pieces: PieceEncoder | None = None
        self._pieces_of: tuple[int, int] | None = None

    def encode(self, rendering: Rendering, cuts: Sequence[int] = ()) -> Encoded:
        """Tokenise, keeping literals plain text. No token crosses one of the characters in `cuts`."""
        if not rendering.literals and not cuts:
            return self._encode_template_text(rendering.text, continues=False)
        parts: list[Encoded] = []
        literals = dict(rendering.literals)
        borders = {0, len(rendering.text), *cuts, *literals.keys(), *literals.values()}
        for start, end in itertools.pairwise(sorted(borders)):
            if literals.get(start) == end:
                parts.append(self._encode_literal(rendering.text, start, end))
            else:
                piece = self._encode_template_text(rendering.text[start:end], continues=start > 0)
                parts.append(Encoded(piece.ids, piece.starts + start, piece.ends + start))
        return Encoded(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def encode_many(self, renderings: Sequence[Rendering]) -> list[Encoded]:
        """`encode` without cuts for many renderings; those without literals all at once."""
        plain = [rendering.text for rendering in renderings if not rendering.literals]
        encoded = iter(self._encode_texts(plain) if plain else [])
        return [self.encode(rendering) if rendering.literals else next(encoded) for rendering in renderings]

    def _encode_texts(self, texts: list[str]) -> list[Encoded]:
        backend = backend_of(self._tokenizer)
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = False
        is_much = len(texts) >= _MANY_TEXTS or any(len(text) > LONG_CHARACTERS for text in texts)
        if is_much and (pieces := self._piece_encoder(backend)) is not None:
            return pieces.encode(texts)
        return [_to_arrays(encoding) for encoding in backend.encode_batch(texts, add_special_tokens=False)]

    def _piece_encoder(self, backend: Tokenizer) -> PieceEncoder | None:
        """The table of words, made anew where tokens were added since."""
        state = (id(backend), backend.get_vocab_size())
        if self._pieces_of != state:
            self._pieces, self._pieces_of = PieceEncoder.of(backend), state
        return self._pieces

    def _encode_template_text(self, text: str, *, continues: bool) -> Encoded:
        """`continues`: other text stands before it; SentencePiece would otherwise add the space of a text's beginning."""
        (whole,) = self._encode_texts(["\n" + text if continues else text])
        if not continues:
            return whole
        if (whole.ids[: len(self._newline_ids)] == self._newline_ids).all():
            skip = len(self._newline_ids)
            return Encoded(whole.ids[skip:], whole.starts[skip:] - 1, whole.ends[skip:] - 1)
        return self._encode_template_text(text, continues=False)  # the newline melted into the text

    def _encode_literal(self, text: str, start: int, end: int) -> Encoded:
        literal = text[start:end]
        lead_ids = self._without_added_tokens.encode("\n", add_special_tokens=False).ids
        ids = self._without_added_tokens.encode("\n" + literal, add_special_tokens=False).ids
        if ids[: len(lead_ids)] == lead_ids:
            ids = ids[len(lead_ids) :]
        else:
            ids = self._without_added_tokens.encode(literal, add_special_tokens=False).ids
        if self._tokenizer.convert_tokens_to_ids(literal) in ids:
            raise ModelError(
                f"The text contains {literal!r}, and this tokenizer makes the control token of that name even from plain "
                "characters. Remove it from the data: the model would take it for a command."
            )
        return Encoded(
            np.asarray(ids, dtype=np.int32),
            np.full(len(ids), start, dtype=np.int32),
            np.full(len(ids), end, dtype=np.int32),
        )

    @cached_property
    def _newline_ids(self) -> NDArray[np.int32]:
        return np.asarray(self._tokenizer("\n", add_special_tokens=False)["input_ids"], dtype=np.int32)

    @cached_property
    def _without_added_tokens(self) -> Tokenizer:
        definition = json.loads(backend_of(self._tokenizer).to_str())
        definition |= {"added_tokens": [], "truncation": None, "padding": None, "post_processor": None}
        return Tokenizer.from_str(json.dumps(definition))


def _to_arrays(encoding: Encoding) -> Encoded:
    offsets = np.fromiter(itertools.chain.from_iterable(encoding.offsets), np.int32, 2 * len(encoding.ids))
    return Encoded(np.array(encoding.ids, np.int32), offsets[::2].copy(), offsets[1::2].copy())
