"""Text with columns in braces: "Translate: {english}". Doubled braces stand for themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from string import Formatter
from typing import Any


class TemplateError(ValueError):
    """What is wrong with a text; the caller knows whose it is."""


def is_template(text: str) -> bool:
    """Whether it is a text to be filled, rather than the name of a column."""
    return "{" in text


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Put values into a text: texts as they are, lists line by line, anything else as JSON.

    Raises:
        TemplateError: A brace is unpaired, or a column has no value.
    """
    parts: list[str] = []
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as error:
        raise TemplateError(f"{text[:80]!r} cannot be filled: {error}. Write {{{{ and }}}} for braces") from error
    for literal, name, spec, conversion in pieces:
        parts.append(literal)
        if name is None:
            continue
        if not name or spec or conversion:
            raise TemplateError(f"{text[:80]!r}: braces hold the name of a column; write {{{{ and }}}} for braces")
        if values.get(name) is None:
            raise TemplateError(f"needs the column '{name}'; columns with a value here: {', '.join(values) or 'none'}")
        parts.append(shown(values[name]))
    return "".join(parts)


def shown(value: Any) -> str:
    """A value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False)
