"""Rows of a task that the run was trained on: their score measures memory, so they are named and counted apart.

What counts as the same is said in `data.contamination`. A question that equals or nearly equals one of the training data was
learnt. A long run of words in common, or a like answer, may be phrasing that a whole task shares: such rows are counted, and
stay in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.data.contamination import ContaminatedRows, ContaminationIndex, Match, Row
from luthier.evaluation.protocol import TaskRow
from luthier.types import Conversation, Document, Message

_NAMED = 20


@dataclass(frozen=True)
class Overlap:
    """What a task and the training data have in common.

    Attributes:
        num_training_rows: Rows of the training data that were looked at.
        matches: Of rows that were learnt, by number (from 0), what says so.
        ids: Of these rows.
        alike: Of the other rows that have something in common with a training row, the same.
    """

    num_training_rows: int
    matches: Mapping[int, Match]
    ids: tuple[str, ...]
    alike: Mapping[int, Match]

    def clean_rows(self, num_rows: int) -> list[int]:
        """Numbers of the rows that the training data do not have."""
        return [row for row in range(num_rows) if row not in self.matches]

    def sentence(self, task: str, num_rows: int) -> str:
        """Rows that were learnt, for people; empty where there are none."""
        if not self.matches:
            return ""
        kinds = Counter(match.kind for match in self.matches.values())
        names = {"equal": "equal", "near": "nearly equal"}
        told = ", ".join(f"{kinds[kind]} {words}" for kind, words in names.items() if kinds[kind])
        first = min(self.matches)
        return (
            f"{task}: {len(self.matches)} of {num_rows} rows are in the training data too ({told}), so their score measures "
            f"memory; the summary also has the result without them. The first: {self.ids[0]}, {self.matches[first].words}."
        )

    def alike_sentence(self, task: str, num_rows: int) -> str:
        """The other rows, for people; empty where there are none."""
        if not self.alike:
            return ""
        return (
            f"{task}: {len(self.alike)} of {num_rows} rows share a long run of words, or a like answer, with training rows; that "
            f"may be phrasing that all have in common. The first: {self.alike[min(self.alike)].words}."
        )

    def to_json(self) -> dict[str, Any]:
        """For summary.json; the first rows by name."""
        rows = [
            {"id": row_id, "kind": match.kind, "training_row": str(match.source)}
            for row_id, match in zip(self.ids, self.matches.values(), strict=True)
        ]
        return {
            "num_training_rows": self.num_training_rows,
            "num_rows": len(self.matches),
            "kinds": dict(Counter(match.kind for match in self.matches.values())),
            "rows": rows[:_NAMED],
            "num_alike": len(self.alike),
        }


class TrainingIndex:
    """The training data, ready to be asked for what a task has in common with them. Holds hashes, no texts."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._index = ContaminationIndex()
        self._num_rows = 0
        for row in rows:
            self._index.add(row)
            self._num_rows += 1

    def overlap(self, rows: Sequence[TaskRow]) -> Overlap:
        """Which rows of a task it has."""
        found = ContaminatedRows(self._index)
        for number, row in enumerate(rows):
            found.see(number, _as_training_row(row))
        matches = dict(sorted(found.found().items()))
        learnt = {number: match for number, match in matches.items() if _was_learnt(match)}
        alike = {number: match for number, match in matches.items() if number not in learnt}
        return Overlap(self._num_rows, learnt, tuple(rows[number].id for number in learnt), alike)


def _was_learnt(match: Match) -> bool:
    return match.kind in ("equal", "near") and match.part in ("prompt", "text")


def _as_training_row(row: TaskRow) -> Row:
    if not row.messages:
        return Document(str(row.reference))
    answer = (Message("assistant", row.reference),) if isinstance(row.reference, str) else ()
    return Conversation((*row.messages, *answer))
