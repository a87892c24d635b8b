"""Rows that do not fit their layout go, each with what is wrong. Unless this is asked for, such a row stops the cleaning.

What does not fit cannot be judged, so this repair acts where rows are read (`workflows.data_clean`), before all others.
"""

from __future__ import annotations

from luthier.data.clean.repair import Drop, RowJudge

REPAIR = Drop(
    "row_does_not_fit",
    "drop rows that do not fit their layout",
    False,
    lambda: RowJudge(lambda _: None),
)
