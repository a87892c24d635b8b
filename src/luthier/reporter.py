"""How long work tells what it is doing. Workflows report; only front ends print.

`Reporter` is what a front end implements (a rich view, plain lines, a web socket); `Silent` is for tests and libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from luthier.types import Check

Level = Literal["info", "warning"]


class Reporter(Protocol):
    """Receiver of progress."""

    def stage(self, title: str) -> None:
        """A new part of the work begins; it ends when the next begins."""
        ...

    def say(self, message: str, level: Level = "info") -> None:
        """A sentence for the user."""
        ...

    def progress(self, name: str, done: float, total: float, detail: Mapping[str, float | str] | None = None) -> None:
        """`done` of `total` units of `name` are finished; `detail` holds current figures (loss, tokens_per_second)."""
        ...

    def check(self, check: Check) -> None:
        """A check has been made."""
        ...


class Silent:
    """Reports to nobody."""

    def stage(self, title: str) -> None:
        """Ignored."""

    def say(self, message: str, level: Level = "info") -> None:
        """Ignored."""

    def progress(self, name: str, done: float, total: float, detail: Mapping[str, float | str] | None = None) -> None:
        """Ignored."""

    def check(self, check: Check) -> None:
        """Ignored."""
