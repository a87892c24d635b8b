"""Finds: preference pairs whose two sides do not answer the same: behind the common beginning the user says something
else on the chosen side than on the rejected one.

Hurts: what is compared is then the question and not the answer; the model learns which questions are liked. (Rows whose
two sides have no common beginning at all do not get this far: they do not fit.)
Do: cut both sides after the first answer in which they differ, or pair answers to one prompt.
"""

from __future__ import annotations

from itertools import zip_longest

from luthier.data.content import normalised
from luthier.data.lint.row import LintRow
from luthier.data.lint.rule import RowRule, Rule, shown

_SHOWN = 40


def _judge(row: LintRow) -> str | None:
    pair = row.pair
    if pair is None or (len(pair.chosen) == 1 and len(pair.rejected) == 1):
        return None
    asked = ([m.content for m in side if m.role == "user"] for side in (pair.chosen, pair.rejected))
    for one, other in zip_longest(*asked, fillvalue=""):
        if one != other and normalised(one) != normalised(other):
            return f"chosen: {shown(one, _SHOWN) or '(nothing)'} / rejected: {shown(other, _SHOWN) or '(nothing)'}"
    return None


RULE: Rule = RowRule(
    name="prompt_differs",
    severity="warning",
    kinds=frozenset({"preference"}),
    looks_at="what the user says in chosen and in rejected",
    judge=_judge,
    says="{rows} {have} another question on the chosen side than on the rejected one: what is compared is not the answer.",
    fix="Cut both sides after the first answer in which they differ, or pair answers to one prompt.",
)
