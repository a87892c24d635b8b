"""The beginnings of a conversation as the template renders them: a server sees each of them before it asks for an answer."""

from __future__ import annotations

from luthier.data.rendering import Prepared, Renderer, Rendering
from luthier.errors import DataError


class Beginnings:
    """The beginnings of one conversation, each rendered at most once."""

    def __init__(self, renderer: Renderer, prepared: Prepared) -> None:
        self.renderer = renderer
        self.prepared = prepared
        self._rendered: dict[tuple[int, bool], Rendering | DataError] = {}

    def render(self, num_messages: int, *, generation_prompt: bool = False) -> Rendering:
        """`Renderer.render` of the first messages.

        Raises:
            DataError: The template refuses them.
        """
        key = (num_messages, generation_prompt)
        if key not in self._rendered:
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
