"""Finds: keys and tokens of services that are known by their form, and private keys.

Hurts: whoever asks the model well enough gets them. This is an error, not a warning: nothing is lost by stopping.
Do: revoke the secret first (it has been copied already), then replace it in the data.
"""

from __future__ import annotations

from luthier.data.lint.personal_data import SpanCount
from luthier.data.lint.row import ALL_KINDS, Kinds
from luthier.data.lint.rule import Rule
from luthier.data.personal.find import find_known_secrets
from luthier.types import Severity


class Secrets:
    """The rule."""

    name = "secrets"
    severity: Severity = "error"
    kinds: Kinds = ALL_KINDS
    looks_at = "all texts"

    def start(self) -> SpanCount:
        """A fresh pass."""
        return SpanCount(
            self,
            find_known_secrets,
            "{rows} {contain} secrets ({kinds}): a model may repeat them to anyone.",
            "Revoke them first, they have been copied already; then replace them in the data.",
        )


RULE: Rule = Secrets()
