"""Speed-ups as objects: named, listed to the user, applied to one model instance, revertible, each with its slow reference.

A patch that was asked for and does not apply is an error with the reason; nothing falls back in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from luthier.errors import ModelError


@dataclass(frozen=True, slots=True)
class Applies:
    """Whether a patch can work on a model, and why (not)."""

    yes: bool
    reason: str


class Patch(Protocol):
    """One speed-up of one model instance."""

    name: str
    reference: str
    """Dotted path of the slow code that gives the same result; the parity test compares with it."""

    def applies_to(self, model: nn.Module) -> Applies:
        """Look, do not touch."""
        ...

    def apply(self, model: nn.Module) -> Callable[[], None]:
        """Change the instance; returns what undoes the change."""
        ...


class AppliedPatches:
    """The patches that are in force on a model, with their undo functions, last first."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._undo: list[tuple[str, Callable[[], None]]] = []

    @property
    def names(self) -> list[str]:
        """In the order of application."""
        return [name for name, _ in self._undo]

    def apply(self, patches: Iterable[Patch]) -> None:
        """Apply all, or raise ModelError naming the one that cannot be and leave the model as it was."""
        for patch in patches:
            verdict = patch.applies_to(self._model)
            if not verdict.yes:
                self.revert()
                raise ModelError(f"The speed-up '{patch.name}' was asked for but cannot be applied: {verdict.reason}")
            self._undo.append((patch.name, patch.apply(self._model)))

    def revert(self) -> None:
        """Undo all, last first."""
        while self._undo:
            self._undo.pop()[1]()
