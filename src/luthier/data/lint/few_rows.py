"""Finds: too few rows. Below 100: do not fine-tune yet; from 500 on it is good.

Hurts: below a hundred a model learns tone and format, hardly anything else, and overfits soon; a few examples in the
prompt do the same for free. Up to five hundred the gain is real and its measurement is not: the validation side is too
small.
Do: collect more before training.
"""

from __future__ import annotations

from collections.abc import Iterable

from luthier.data.lint.row import ALL_KINDS, Kinds, LintRow
from luthier.data.lint.rule import Places, Rule, finding
from luthier.types import Finding, Severity

FEW_ROWS = 100
GOOD_ROWS = 500


class FewRows:
    """The rule, and its pass: the number of rows is all it needs."""

    name = "few_rows"
    severity: Severity = "warning"
    kinds: Kinds = ALL_KINDS
    looks_at = "the number of rows"

    def start(self) -> FewRows:
        """Nothing is remembered."""
        return self

    def see(self, row: LintRow) -> None:
        """Rows are counted by the look itself."""

    def findings(self, places: Places) -> Iterable[Finding]:
        """By the number of rows."""
        count = len(places)
        rows = "is only 1 row" if count == 1 else f"are only {count} rows"
        if 0 < count < FEW_ROWS:
            yield finding(
                self,
                (),
                0,
                f"There {rows}: do not fine-tune yet. A model learns tone and format from them, hardly anything else, "
                "and overfits "
                "soon; a few examples in the prompt do the same for free.",
                f"Collect more: from {FEW_ROWS} rows on it becomes worth while, {GOOD_ROWS} or more are good.",
            )
        elif FEW_ROWS <= count < GOOD_ROWS:
            yield finding(
                self,
                (),
                0,
                f"There are {count} rows: enough to begin. Gains will be real but hard to prove, because few rows are "
                "left "
                "to measure them.",
                f"{GOOD_ROWS} or more are good; more kinds of questions help more than more of the same.",
                severity="note",
            )


RULE: Rule = FewRows()
