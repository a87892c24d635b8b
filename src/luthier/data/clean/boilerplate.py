"""Rows in which another model speaks of itself go."""

from __future__ import annotations

from luthier.data.clean.repair import Drop, RowJudge, judge_of
from luthier.data.lint.boilerplate import RULE

REPAIR = Drop(
    "boilerplate",
    "drop rows in which another model speaks of itself",
    False,
    lambda: RowJudge(judge_of(RULE), "another model speaks of itself: {}"),
)
