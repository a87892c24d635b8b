"""Finds: random-looking values that a password, token or key is set to.

Hurts: as `secrets`, if they are real. Unlike those they are known by their neighbourhood alone, so a person has to
look.
Do: look at each; replace what opens something.
"""

from __future__ import annotations

from luthier.data.lint.personal_data import SpanCount
from luthier.data.lint.row import ALL_KINDS, Kinds
from luthier.data.lint.rule import Rule
from luthier.data.personal.find import find_assigned_secrets
from luthier.types import Severity


class PossibleSecrets:
    """The rule."""

    name = "possible_secrets"
    severity: Severity = "warning"
    kinds: Kinds = ALL_KINDS
    looks_at = "all texts"

    def start(self) -> SpanCount:
        """A fresh pass."""
        return SpanCount(
            self,
            find_assigned_secrets,
            "{rows} {contain} what may be passwords or keys ({kinds}): a model may repeat them to anyone.",
            "Look at them; where they are real, revoke them and replace them in the data.",
        )


RULE: Rule = PossibleSecrets()
