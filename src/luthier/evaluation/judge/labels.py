"""What people say of the same answers: a file of theirs, to see how far a judge can be believed.

{"id": "tickets-1", "winner": "tuned"}                      of pairs: a contender's name, or "tie"
{"id": "tickets-1", "contender": "tuned", "score": 7}       of a rubric: points from 1 to 10
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.data.sources import read_rows
from luthier.errors import DataError
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.judge.agreement import Agreement, agreement
from luthier.evaluation.judge.prompts import LEAST_POINTS, MOST_POINTS
from luthier.evaluation.judge.verdict import as_points

TIE = "tie"


def read_winners(path: Path, contenders: Sequence[ContenderName]) -> dict[str, str]:
    """Who won each row, by its id.

    Raises:
        DataError: A line says something else, or a row stands there twice.
    """
    found: dict[str, str] = {}
    for row in read_rows(path):
        row_id, winner = row.value.get("id"), row.value.get("winner")
        if row_id is None or winner not in (*contenders, TIE):
            raise DataError(
                f"{row.source}: a label of a pair has 'id' and 'winner', one of {', '.join(contenders)}, {TIE}; found "
                f"{row.value!r}."
            )
        if str(row_id) in found:
            raise DataError(f"{row.source}: the row {row_id} has a label already; each row is labelled once.")
        found[str(row_id)] = str(winner)
    return found


def read_grades(path: Path, contenders: Sequence[ContenderName]) -> dict[tuple[str, str], int]:
    """Points of each answer, by row and contender.

    Raises:
        DataError: A line says something else, or an answer stands there twice.
    """
    found: dict[tuple[str, str], int] = {}
    for row in read_rows(path):
        row_id, contender, score = (row.value.get(name) for name in ("id", "contender", "score"))
        points = as_points(score)
        if row_id is None or contender not in contenders or points is None:
            raise DataError(
                f"{row.source}: a label of a rubric has 'id', 'contender' (one of {', '.join(contenders)}) and 'score' from "
                f"{LEAST_POINTS} to {MOST_POINTS}; found {row.value!r}."
            )
        if (str(row_id), str(contender)) in found:
            raise DataError(f"{row.source}: the answer of {contender} to {row_id} has a label already.")
        found[str(row_id), str(contender)] = points
    return found


def agreement_on_winners(judged: Mapping[str, str], people: Mapping[str, str]) -> Agreement | None:
    """On the rows that both have; None where there are none."""
    shared = [row for row in judged if row in people]
    if not shared:
        return None
    said, meant = ([names[row] for row in shared] for names in (judged, people))
    return agreement(said, meant, sorted({*judged.values(), *people.values()}))


def agreement_on_grades(judged: Mapping[Any, int], people: Mapping[Any, int]) -> Agreement | None:
    """On the answers that both have, one point off being little; None where there are none."""
    shared = [key for key in judged if key in people]
    if not shared:
        return None
    said, meant = ([grades[key] for key in shared] for grades in (judged, people))
    return agreement(said, meant, range(LEAST_POINTS, MOST_POINTS + 1), quadratic=True)
