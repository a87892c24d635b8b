"""Finds: one text with several different classes.

Hurts: whichever class the model answers, part of the data calls it wrong; the best accuracy that can be reached sinks,
in training and in measuring.
Do: look at each text and keep the right class; where several are right, make it a task of several labels.
"""

from __future__ import annotations

from luthier.data.lint.conflicting_answers import Conflicts
from luthier.data.lint.row import Kinds
from luthier.data.lint.rule import Rule
from luthier.types import Severity


class ConflictingLabels:
    """The rule."""

    name = "conflicting_labels"
    severity: Severity = "warning"
    kinds: Kinds = frozenset({"classification"})
    looks_at = "equal texts"

    def start(self) -> Conflicts:
        """A fresh pass."""
        return Conflicts(
            self,
            "{prompts} with different classes ({rows} rows): whatever the model answers is wrong for some of them.",
            ("text occurs", "texts occur"),
            "Keep the right class of each text.",
        )


RULE: Rule = ConflictingLabels()
