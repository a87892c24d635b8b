"""Finds: rows that the evaluation sets have too: equal, nearly equal, or with a run of 13 words in common.

Hurts: the score on those sets measures memory. It is the most common reason why a model looks good and is not.
Do: remove the rows from training (``luthier data decontaminate`` does), never from the evaluation. Runs of words may be
quotations or a passage that several questions share: look at them.

Equal and nearly equal rows are an error; rows with nothing but a run of words in common are a warning.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from luthier.data.lint.row import ALL_KINDS, ClassifiedText, Kinds, LintRow
from luthier.data.lint.rule import Given, NeedyRule, Places, Rule, count_of, finding
from luthier.types import Finding, Severity

if TYPE_CHECKING:
    from luthier.data.contamination import ContaminatedRows, ContaminationIndex


_SHOWN = 240
"""The place of the evaluation row is to be read whole."""


class Contamination(NeedyRule):
    """The rule."""

    name = "contamination"
    severity: Severity = "error"
    kinds: Kinds = ALL_KINDS
    looks_at = "prompts and answers, against evaluation sets"
    needs = "evaluation sets (--against FILE)"

    def __init__(self, index: ContaminationIndex | None = None) -> None:
        self._index = index

    def equip(self, given: Given) -> Contamination | None:
        """With the rows of evaluation sets."""
        return Contamination(given.evaluation) if given.evaluation is not None else None

    def start(self) -> _Matches:
        """A fresh pass."""
        from luthier.data.contamination import ContaminatedRows  # numpy: only where it is used

        assert self._index is not None
        return _Matches(self, ContaminatedRows(self._index))


class _Matches:
    def __init__(self, rule: Rule, rows: ContaminatedRows) -> None:
        self._rule, self._rows = rule, rows

    def see(self, row: LintRow) -> None:
        item = row.item
        if isinstance(item, ClassifiedText):
            spoken = row.spoken
            self._rows.see(row.number, spoken)
        else:
            self._rows.see(row.number, item)

    def findings(self, places: Places) -> Iterable[Finding]:
        found = self._rows.found()
        same = {number: match for number, match in found.items() if match.kind != "run"}
        runs = {number: match for number, match in found.items() if match.kind == "run"}
        if same:
            equal = sum(match.kind == "equal" for match in same.values())
            yield finding(
                self._rule,
                places.first(sorted(same)),
                len(same),
                f"{count_of(len(same), len(places))} are in the evaluation sets too ({equal:,} equal, "
                f"{len(same) - equal:,} nearly "
                "equal): their score would measure memory.",
                "Remove them from training: luthier data decontaminate.",
                same[min(same)].words,
                most=_SHOWN,
            )
        if runs:
            yield finding(
                self._rule,
                places.first(sorted(runs)),
                len(runs),
                f"{count_of(len(runs), len(places))} have a long run of words in common with the evaluation sets.",
                "Look at them: quotations and shared passages may stay, questions and answers should not.",
                runs[min(runs)].words,
                severity="warning",
                most=_SHOWN,
            )


RULE: Rule = Contamination()
