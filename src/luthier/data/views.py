"""One conversation, shown once or several times, so that every trained turn is learnt in the form in which it is generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.beginnings import Beginnings
from luthier.data.encoding import Encoded, TextEncoder
from luthier.data.mask import TurnSpan, View, trained_mask
from luthier.data.rendering import Prepared, Renderer
from luthier.data.tokenizer_check import special_id
from luthier.errors import DataError
from luthier.types import Message


class Rendered(NamedTuple):
    """A row as tokens.

    Attributes:
        ids: Token ids.
        trained: Whether each token is learnt.
        text: What was tokenised.
    """

    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    text: str


class Views:
    """Makes them.

    Args:
        renderer: The chat template.
        encoder: Tokenises what it renders.
        end_ids: Tokens that can end a turn.
    """

    def __init__(self, renderer: Renderer, encoder: TextEncoder, end_ids: frozenset[int]) -> None:
        self._renderer = renderer
        self._encoder = encoder
        self._end_ids = end_ids

    def begin(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> Beginnings:
        """A conversation, ready to be rendered.

        Raises:
            DataError: The template has no place for its system message.
        """
        return Beginnings(self._renderer, self._renderer.prepare(messages, tools))

    def whole(self, beginnings: Beginnings) -> tuple[Rendered, list[TurnSpan]]:
        """The conversation rendered once."""
        prepared = beginnings.prepared
        return self.encode(beginnings, len(prepared.messages), prepared.trained)

    def by_turn(self, beginnings: Beginnings, encoded: Encoded | None = None) -> list[tuple[Rendered, list[TurnSpan]]]:
        """As `ChatTemplate.encode_turns`, shortest first.

        Args:
            beginnings: The conversation.
            encoded: The tokens of the view that shows most, where they are known already.
        """
        remaining: Sequence[int] = beginnings.prepared.trained
        num_messages = num_shown(beginnings.prepared)
        views: list[tuple[Rendered, list[TurnSpan]]] = []
        while remaining or not views:
            rendered, spans = self.encode(
                beginnings, num_messages, remaining, only_exact=True, encoded=None if views else encoded
            )
            views.append((rendered, spans))
            done = {span.message for span in spans}
            remaining = [message for message in remaining if message not in done]
            num_messages = remaining[-1] + 1 if remaining else 0
        return views[::-1]

    def encode(
        self,
        beginnings: Beginnings,
        num_messages: int,
        trained: Sequence[int],
        *,
        only_exact: bool = False,
        encoded: Encoded | None = None,
    ) -> tuple[Rendered, list[TurnSpan]]:
        """Render the first messages and find the learnt parts; `only_exact` keeps those that equal serving, and the last."""
        view = self.view(beginnings, num_messages, encoded=encoded)
        spans = [
            span
            for message in trained
            if (span := view.locate_exact(message) if only_exact and message != trained[-1] else view.locate(message))
        ]
        return Rendered(view.encoded.ids, trained_mask(len(view.encoded.ids), spans), view.text), spans

    def view(
        self,
        beginnings: Beginnings,
        num_messages: int,
        *,
        generation_prompt: bool = False,
        encoded: Encoded | None = None,
    ) -> View:
        """The first messages."""
        view = View(
            beginnings,
            self._encoder,
            num_messages,
            self._end_ids,
            generation_prompt=generation_prompt,
            encoded=encoded,
        )
        self._refuse_double_bos(view)
        return view

    def _refuse_double_bos(self, view: View) -> None:
        first = view.encoded.ids[:2].tolist()
        if len(first) == 2 and first[0] == first[1] == special_id(self._renderer.tokenizer, "bos_token"):
            raise DataError(
                f"The conversation begins with two BOS tokens ({view.text[:60]!r}). The template writes "
                f"{self._renderer.tokenizer.bos_token!r} twice; remove one from it."
            )


def num_shown(prepared: Prepared) -> int:
    """Messages up to the last that is learnt; all where none is."""
    trained = prepared.trained
    return trained[-1] + 1 if trained else len(prepared.messages)
