"""The beginnings of a conversation as the template renders them: a server sees each of them before it asks for an answer."""

from __future__ import annotations

from functools import cached_property

from luthier.data.growing import Growth
from luthier.data.rendering import Prepared, Renderer, Rendering
from luthier.errors import DataError

MOST_RENDERED_AGAIN = 2000
"""Most messages of a conversation of which each beginning has to be rendered by itself: that takes their square in time."""


class Beginnings:
    """The beginnings of one conversation: all from one run of the template where it allows that, else each rendered once."""

    def __init__(self, renderer: Renderer, prepared: Prepared) -> None:
        self.renderer = renderer
        self.prepared = prepared
        self._rendered: dict[tuple[int, bool], Rendering | DataError] = {}

    @cached_property
    def _growth(self) -> Growth | None:
        return self.renderer.grow(self.prepared)

    def render(self, num_messages: int, *, generation_prompt: bool = False) -> Rendering:
        """`Renderer.render` of the first messages.

        Raises:
            DataError: The template refuses them, or there are too many to render every beginning of them.
        """
        key = (num_messages, generation_prompt)
        if key not in self._rendered:
            length = self._grown_length(num_messages)
            if self._growth is not None and length is not None:
                end = self.renderer.end(generation_prompt=generation_prompt)
                return Rendering(self._growth.text[:length] + end)
            self.require_few()
            try:
                self._rendered[key] = self.renderer.render(
                    self.prepared, num_messages, generation_prompt=generation_prompt
                )
            except DataError as error:
                self._rendered[key] = error
        result = self._rendered[key]
        if isinstance(result, DataError):
            raise result
        return result

    def try_render(self, num_messages: int, *, generation_prompt: bool = False) -> Rendering | None:
        """`render`, or None where the template refuses this beginning."""
        try:
            return self.render(num_messages, generation_prompt=generation_prompt)
        except DataError:
            return None

    def prompt_length(self, message: int, text: str) -> int | None:
        """Characters of the prompt for a message, if a rendering begins with it; None if not, or if the template refuses it.

        Args:
            message: Its index, from 1.
            text: Of a rendering of this conversation that shows at least the messages before it.
        """
        length = self._grown_length(message)
        if length is not None:  # all renderings have the same beginning
            opening = self.renderer.end(generation_prompt=True)
            return length + len(opening) if text.startswith(opening, length) else None
        prompt = self.try_render(message, generation_prompt=True)
        return len(prompt.text) if prompt is not None and text.startswith(prompt.text) else None

    def begins_with(self, num_messages: int, text: str, length: int) -> bool:
        """Whether the rendering of so many messages begins with the first `length` characters of another.

        Args:
            num_messages: How many.
            text: Of a rendering of this conversation that shows at least as many.
            length: How much of it is compared.
        """
        grown = self._grown_length(num_messages)
        if grown is not None:
            rest = text[grown:length]
            return self.renderer.end(generation_prompt=False).startswith(rest)
        alone = self.try_render(num_messages)
        return alone is not None and alone.text.startswith(text[:length])

    def require_few(self) -> None:
        """Refuse a conversation that would take hours.

        Raises:
            DataError: It has more than `MOST_RENDERED_AGAIN` messages.
        """
        num_messages = len(self.prepared.messages)
        if num_messages > MOST_RENDERED_AGAIN:
            raise DataError(
                f"{num_messages:,} messages: at most {MOST_RENDERED_AGAIN:,} can be where each beginning of a conversation has "
                "to be rendered by itself, because the chat template looks ahead (or a person typed its control tokens). Cut "
                "the conversation into several rows, or choose another template with model.chat_template."
            )

    def _grown_length(self, num_messages: int) -> int | None:
        """What the template writes for the first messages, in characters of `_growth.text`; None where that is not known."""
        if num_messages < 1 or self._growth is None or num_messages >= len(self._growth.lengths):
            return None
        if num_messages == len(self.prepared.messages):
            return len(self._growth.text)
        length = self._growth.lengths[num_messages]
        return None if length < 0 else length
