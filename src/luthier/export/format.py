"""What every export format provides: a plan that refuses before any work, the writing, and the checks on what was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from luthier.export.subject import Live, Subject
from luthier.types import Check

Advance = Callable[[int], None]
"""Told the bytes that were written since the last call."""


class PlannedFile(NamedTuple):
    """A file, and about how large it will be."""

    name: str
    num_bytes: int


@dataclass(frozen=True, eq=False)
class FormatPlan:
    """What one export will write.

    Attributes:
        format: Its name.
        type: Number format or quantisation.
        files: The large ones; a tokenizer and small files come with them.
        notes: What a user should know before it begins.
        details: What the format needs to remember.
    """

    format: str
    type: str
    files: tuple[PlannedFile, ...]
    notes: tuple[str, ...] = ()
    details: Any = None

    @property
    def num_bytes(self) -> int:
        """On the disk."""
        return sum(file.num_bytes for file in self.files) + 32_000_000  # tokenizers have up to 30 MB

    @property
    def folder_name(self) -> str:
        """Of its folder among a run's exports: the type is told where a format has several."""
        return self.format if self.type in ("", "own") else f"{self.format}-{self.type}"


class Verified(NamedTuple):
    """What was tested."""

    checks: list[Check]
    figures: Mapping[str, Any]
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Usage:
    """How the export is used, for the card and the last line of the command."""

    command: str
    purpose: str
    text: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)


class Format(Protocol):
    """One format."""

    name: str
    title: str
    types: tuple[str, ...]
    default_type: str

    def plan(self, subject: Subject, type: str) -> FormatPlan:
        """Decide all files; raise where it cannot be done."""
        ...

    def write(self, subject: Subject, plan: FormatPlan, folder: Path, advance: Advance) -> None:
        """Write into an existing, empty folder."""
        ...

    def verify(self, subject: Subject, plan: FormatPlan, folder: Path, live: Live | None) -> Verified:
        """Test what was written; without `live`, only what needs no run."""
        ...

    def usage(self, subject: Subject, plan: FormatPlan, folder: Path) -> Usage:
        """What to do with it."""
        ...
