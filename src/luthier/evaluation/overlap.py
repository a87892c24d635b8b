"""Rows of a task that the run was trained on: their score measures memory, so they are named and counted apart.

The words of "the same" are those of `data.contamination`: equal, nearly equal, or with a long run of words in common.
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
        matches: By number of the task's row (from 0), what it has in common with the training row that it is most like.
        ids: Of these rows.
    """

    num_training_rows: int
    matches: Mapping[int, Match]
    ids: tuple[str, ...]

    def clean_rows(self, num_rows: int) -> list[int]:
        """Numbers of the rows that the training data do not have."""
        return [row for row in range(num_rows) if row not in self.matches]

    def sentence(self, task: str, num_rows: int) -> str:
        """For people; empty where there is none."""
        if not self.matches:
            return ""
        kinds = Counter(match.kind for match in self.matches.values())
        names = {"equal": "equal", "near": "nearly equal", "run": "with a long run of words in common"}
        told = ", ".join(f"{kinds[kind]} {words}" for kind, words in names.items() if kinds[kind])
        first = min(self.matches)
        return (
            f"{task}: {len(self.matches)} of {num_rows} rows are in the training data too ({told}), so their score measures "
            f"memory; the summary also has the result without them. The first: {self.ids[0]}, {self.matches[first].words}."
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
        return Overlap(self._num_rows, matches, tuple(rows[number].id for number in matches))


def _as_training_row(row: TaskRow) -> Row:
    if not row.messages:
        return Document(str(row.reference))
    answer = (Message("assistant", row.reference),) if isinstance(row.reference, str) else ()
    return Conversation((*row.messages, *answer))
