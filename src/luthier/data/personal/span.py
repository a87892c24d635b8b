"""A place in a text that names or reaches a person, or opens a door."""

from __future__ import annotations

from typing import NamedTuple


class Span(NamedTuple):
    """``text[start:end]`` is of a kind (``email``, ``iban``, …)."""

    kind: str
    start: int
    end: int

    def of(self, text: str) -> str:
        """What stands there."""
        return text[self.start : self.end]
