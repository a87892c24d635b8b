"""Rows with an answer that says nothing and calls nothing go."""

from __future__ import annotations

from luthier.data.clean.repair import Drop, RowJudge, judge_of
from luthier.data.lint.empty_answer import RULE

REPAIR = Drop(
    "empty_answer",
    "drop rows with an answer without text",
    True,
    lambda: RowJudge(judge_of(RULE), "an answer has no text"),
)
