"""What every reader of data files gives: one record with its place, and how a piece of it is quoted in a complaint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from luthier.types import Source

EXCERPT_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it stands in its file."""

    value: dict[str, Any]
    source: Source


def excerpt(text: str) -> str:
    """The beginning of a text, in quotes."""
    text = text[: 4 * EXCERPT_LENGTH].strip()
    return repr(text if len(text) <= EXCERPT_LENGTH else text[:EXCERPT_LENGTH] + "…")
