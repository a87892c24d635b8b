"""Which tokens of a rendered conversation are learnt: found from the structure of the messages, for any template.

The part of an assistant turn that is learnt is what the model has to say at serving time: all that follows the generation
prompt, up to and including the end-of-turn token. (The newline that many templates put behind it is never generated.)

1. *By prefix*. If the conversation begins with the text that a server would prompt with, the answer starts where that ends;
   the first end-of-turn token behind it is its end, if the rendering up to this turn says the same. The turn is `exact`:
   what is learnt is what would be served.
2. *By marks*, where a template writes the past differently (Qwen 3 and R1 drop earlier thinking, Mistral moves the system
   message and the tools to the last question): the author's text is found with marks, see `rendering.py`; in front of it the
   generation prompt is taken off, behind it the end-of-turn token must follow as it does when the turn is the last one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.beginnings import Beginnings
from luthier.data.encoding import Encoded, TextEncoder
from luthier.data.rendering import Rendering
from luthier.errors import DataError

ADVICE_NO_END = (
    "A model that is trained on it never learns to stop. Choose a template that ends answers with a token "
    "(model.chat_template: chatml, or a jinja file that writes eos_token behind each answer)."
)


class TurnSpan(NamedTuple):
    """The learnt part of one message.

    Attributes:
        message: Index among the prepared messages.
        first_token: The first learnt token.
        end_token: Behind the last learnt token.
        start: Character at which the learnt part begins.
        exact: A server that is given the messages before this one would prompt with exactly the text in front of it, and
            the answer has the form in which it would be generated.
    """

    message: int
    first_token: int
    end_token: int
    start: int
    exact: bool


class View:
    """The first messages of a conversation, rendered and tokenised, and where their learnt parts are.

    Args:
        beginnings: The conversation.
        encoder: Tokenises what was rendered.
        num_messages: How many of its messages are shown.
        end_ids: Tokens that can end a turn.
        generation_prompt: Whether the opening of the next answer is added.
        encoded: The tokens of that rendering, where they are known already.

    Raises:
        DataError: The template refuses the messages.
    """

    def __init__(
        self,
        beginnings: Beginnings,
        encoder: TextEncoder,
        num_messages: int,
        end_ids: frozenset[int],
        *,
        generation_prompt: bool = False,
        encoded: Encoded | None = None,
    ) -> None:
        self._beginnings = beginnings
        self._renderer, self._prepared = beginnings.renderer, beginnings.prepared
        self._encoder = encoder
        self._num_messages = num_messages
        self._full = beginnings.render(num_messages, generation_prompt=generation_prompt)
        self.encoded = encoder.encode(self._full) if encoded is None else encoded
        self._is_ordered = _is_ordered(self.encoded)
        straddled = self._straddled_starts()
        if straddled:
            self.encoded = encoder.encode(self._full, straddled)
            self._is_ordered = _is_ordered(self.encoded)
        is_end = np.zeros(len(self.encoded.ids), dtype=np.bool_)
        for end in end_ids:  # a few comparisons are ten times faster than np.isin
            is_end |= self.encoded.ids == end
        self._end_positions = np.flatnonzero(is_end)

    @property
    def text(self) -> str:
        """What was tokenised."""
        return self._full.text

    def prompt(self, message: int) -> Rendering | None:
        """What a server prompts with to get this message; None where the template refuses what stands before it."""
        return self._beginnings.try_render(message, generation_prompt=True) if message else None

    def _straddled_starts(self) -> list[int]:
        """Characters at which an assistant turn starts, where a token reaches across from the generation prompt."""
        starts: list[int] = []
        for index, message in enumerate(self._prepared.messages[: self._num_messages]):
            if message.role != "assistant" or index == 0:
                continue
            start = self._beginnings.prompt_length(index, self._full.text)
            if start is not None and self._is_straddled(start):
                starts.append(start)
        return starts

    def _is_straddled(self, character: int) -> bool:
        """Whether a token begins before a character and ends behind it."""
        first = self._first_token_from(character)
        if self._is_ordered:
            return first > 0 and int(self.encoded.ends[first - 1]) > character
        return bool(((self.encoded.starts < character) & (self.encoded.ends > character)).any())

    def locate(self, message: int) -> TurnSpan:
        """The learnt part of a message.

        Raises:
            DataError: It is not in the rendering, has no end-of-turn token, or lost its tool calls.
        """
        return self.locate_exact(message) or self._refuse_lost_tool_calls(self._by_marks(message))

    def locate_exact(self, message: int) -> TurnSpan | None:
        """The learnt part of an assistant turn if it stands in the rendering as it would be served; else None."""
        if self._prepared.messages[message].role != "assistant":
            return None
        start = self._beginnings.prompt_length(message, self._full.text) if message else None
        if start is None:
            return None
        first = self._first_token_from(start)
        end = self._end_token_from(first)
        if end is None:
            return None
        is_last = message + 1 == self._num_messages
        if not is_last and not self._beginnings.begins_with(message + 1, self._full.text, int(self.encoded.ends[end])):
            return None
        return self._refuse_lost_tool_calls(TurnSpan(message, first, end + 1, start, exact=True))

    def _by_marks(self, message: int) -> TurnSpan:
        self._beginnings.require_few()
        marked = self._renderer.render(self._prepared, self._num_messages, mark_message=message)
        if marked.text != self._full.text or marked.turn is None:
            raise DataError(
                f"{self._describe(message)} cannot be found in what the chat template makes of the conversation: the "
                "template leaves it out or rewrites it. Remove the turn (or set its train to false), or choose another "
                "template with model.chat_template."
            )
        author_start, author_end = marked.turn
        alone = self._renderer.render(self._prepared, message + 1, mark_message=message)
        if self._prepared.messages[message].role == "assistant":
            start = self._behind_generation_prompt(message, author_start, alone)
        else:
            start = author_start
        first = self._first_token_from(start)
        end = self._end_token_from(self._first_token_from(author_end))
        if end is not None and alone.turn is not None:
            tail = self._full.text[author_end : self.encoded.ends[end]]
            if alone.text[alone.turn[1] :].startswith(tail):
                return TurnSpan(message, first, end + 1, start, exact=False)
        if self._prepared.messages[message].role != "assistant":
            return TurnSpan(message, first, int(np.count_nonzero(self.encoded.ends <= author_end)), start, exact=False)
        tail = self._full.text[author_end : author_end + 40]
        if message + 1 < self._num_messages:
            raise DataError(
                f"{self._describe(message)} is ended otherwise by this chat template when other messages follow it (behind the "
                f"answer comes {tail!r}) than when it is the last. Split the row so that each learnt answer is the last message."
            )
        raise DataError(
            f"{self._describe(message)} has no end-of-turn token in this chat template (behind the answer comes {tail!r}). "
            + ADVICE_NO_END
        )

    def _behind_generation_prompt(self, message: int, author_start: int, alone: Rendering) -> int:
        """Where the turn starts, given where its author's text starts; what a template adds between the two is learnt."""
        before = self._full.text[:author_start]
        prompt = self.prompt(message)
        if prompt is None:
            return author_start
        if self._full.text.startswith(prompt.text):
            return len(prompt.text)
        without = self._beginnings.try_render(message)
        if alone.turn is not None and alone.text.startswith(prompt.text):
            lead = alone.text[len(prompt.text) : alone.turn[0]]
            opening = prompt.text[len(without.text) :] if without and prompt.text.startswith(without.text) else ""
            if before.endswith(opening + lead):
                return author_start - len(lead)
        if without is not None and self._full.text.startswith(without.text):
            # What the prompt and this rendering share goes beyond the messages before: it is the turn's opening.
            shared = self._shared_with_prompt(prompt)
            if len(without.text) <= shared <= author_start:
                return shared
        content = self._prepared.messages[message].content
        indent = content[: len(content) - len(content.lstrip())]
        return author_start - len(indent) if before.endswith(indent) else author_start

    def _shared_with_prompt(self, prompt: Rendering) -> int:
        """The character up to which a prompt has the same tokens as the rendering."""
        ours, theirs = self.encoded.ids, self._encoder.encode(prompt).ids
        length = min(len(ours), len(theirs))
        differ = np.flatnonzero(ours[:length] != theirs[:length])
        token = int(differ[0]) if len(differ) else length
        return int(self.encoded.starts[token]) if token < len(ours) else len(self._full.text)

    def _first_token_from(self, character: int) -> int:
        """The first token that begins at or behind a character: one that begins before it belongs to the prompt."""
        if self._is_ordered:
            return int(self.encoded.starts.searchsorted(np.int32(character)))  # of another type all would be converted
        return int(np.count_nonzero(self.encoded.starts < character))

    def _end_token_from(self, token: int) -> int | None:
        index = int(self._end_positions.searchsorted(token))
        return int(self._end_positions[index]) if index < len(self._end_positions) else None

    def _refuse_lost_tool_calls(self, span: TurnSpan) -> TurnSpan:
        message = self._prepared.messages[span.message]
        text = self._full.text[span.start : self.encoded.ends[span.end_token - 1]] if span.end_token else ""
        for call in message.tool_calls:
            name = str(call.get("function", call).get("name", ""))
            if name not in text:
                raise DataError(
                    f"{self._describe(span.message)} calls the tool {name!r}, but the chat template leaves the call out. "
                    "Choose a template that can show tool calls (model.chat_template), or write the call into the content."
                )
        return span

    def _describe(self, message: int) -> str:
        role = self._prepared.messages[message].role
        return f"The {role} turn that is message {message + 1} of {len(self._prepared.messages)}"


def _is_ordered(encoded: Encoded) -> bool:
    """Whether tokens stand in the order of their characters, as they do but for odd normalisers."""
    starts, ends = encoded.starts, encoded.ends
    return bool((starts[1:] >= starts[:-1]).all() and (ends[1:] >= ends[:-1]).all())


def trained_mask(num_tokens: int, spans: list[TurnSpan]) -> NDArray[np.bool_]:
    """True for each token in one of the spans."""
    mask = np.zeros(num_tokens, dtype=np.bool_)
    for span in spans:
        mask[span.first_token : span.end_token] = True
    return mask
