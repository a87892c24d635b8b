"""A chat template, compiled once and run on messages that are plain data already.

It writes what `apply_chat_template` writes, in a fraction of the time: that copies and checks every message each time.
Templates come from strangers, so they stay in jinja's sandbox; of that only the look-up of a dictionary's key is shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from luthier.compat import compile_chat_template

TEMPLATE_FAULTS = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)
"""What a template can raise when it is given something it was not written for."""

_METHODS = frozenset(dir(dict))


class TemplateProgram:
    """A compiled template with the variables that are the same for all conversations. Make it with `compile`.

    Attributes:
        environment: Jinja's; its own, so that what is set on it changes nothing elsewhere.
    """

    def __init__(self, compiled: Any, variables: Mapping[str, Any]) -> None:
        self._compiled = compiled
        self.environment = compiled.environment
        self._variables = {**compiled.globals, "documents": None, **variables}
        self.environment.getattr = quick_look_up(self.environment.getattr)

    @classmethod
    def compile(cls, text: str, variables: Mapping[str, Any]) -> TemplateProgram | None:
        """Compile; None where it has to go the public way: unusual variables, or a version of transformers that hides its own.

        Args:
            text: Jinja.
            variables: The tokenizer's special tokens and what else the template may name.
        """
        try:
            compiled = compile_chat_template(text) if is_plain(dict(variables)) else None
        except TemplateError:
            return None  # what is wrong with it is said where it is used
        return None if compiled is None else cls(compiled, variables)

    def run(
        self, messages: Any, tools: Sequence[Any] | None, generation_prompt: bool, take: Callable[[str], object]
    ) -> None:
        """Give `take` what the template writes, piece by piece, as it is written.

        Raises:
            TEMPLATE_FAULTS: As the template does.
        """
        variables = {
            **self._variables,
            "messages": messages,
            "tools": None if tools is None else list(tools),
            "add_generation_prompt": generation_prompt,
        }
        for piece in self._compiled.root_render_func(self._compiled.new_context(variables, shared=True)):
            take(piece)

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, generation_prompt: bool
    ) -> str:
        """The whole text."""
        pieces: list[str] = []
        self.run(list(messages), tools, generation_prompt, pieces.append)
        return "".join(pieces)


def is_plain(value: Any) -> bool:
    """Whether a value is made of JSON's types alone: others are for `apply_chat_template` to copy or refuse."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and (type(child) is str or is_plain(child)) for key, child in value.items())
    if kind is list or kind is tuple:
        return all(map(is_plain, value))
    return value is None or kind in (str, int, float, bool)


def quick_look_up(slow: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A sandbox's look-up of attributes or items that answers at once where it is a dictionary's key that is asked for.

    The sandbox does the same, after it has failed to find an attribute of that name.
    """

    def look_up(value: Any, name: Any) -> Any:
        if value.__class__ is dict and name.__class__ is str and name in value and name not in _METHODS:
            return value[name]
        return slow(value, name)

    return look_up
