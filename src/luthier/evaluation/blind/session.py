"""A blind comparison as a page works on it: two answers, left and right, without a word of whose they are until the end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from luthier.errors import InputError
from luthier.evaluation.blind.decisions import CHOICES, BlindFile, Choice, Decision
from luthier.evaluation.blind.result import blind_result, decided_rows
from luthier.evaluation.pairwise import are_equal
from luthier.evaluation.recorded import RecordedRow

MOST_NOTE_CHARACTERS = 4000


@dataclass(frozen=True)
class Unblinded:
    """What is said at the end, when it is no secret any more."""

    sentence: str

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return asdict(self)


class BlindSession:
    """Rows and decisions. Safe to be called from several threads.

    Args:
        file: Where decisions go.
        rows: The drawn rows, in their order.

    Attributes:
        shown: Numbers of the drawn rows that are looked at: not those with equal answers.
    """

    def __init__(self, file: BlindFile, rows: Sequence[RecordedRow]) -> None:
        self.file, self.rows = file, rows
        first, second = file.head.contenders
        self.shown = [number for number, row in enumerate(rows) if not are_equal(row, first, second)]
        self._lock = threading.Lock()

    @property
    def title(self) -> str:
        """What is compared, without the names."""
        return self.file.head.task

    def content(self) -> dict[str, Any]:
        """Everything a page shows."""
        with self._lock:
            return {"rows": [self._row(number) for number in self.shown], **self._state()}

    def decide(self, wish: Any) -> dict[str, Any]:
        """Check and save a decision: ``{"number", "choice", "note"}``.

        Raises:
            InputError: It is none.
        """
        with self._lock:
            return self._answer(self.file.add(self._checked(wish)))

    def undo(self) -> dict[str, Any]:
        """Take the last decision back.

        Raises:
            InputError: There is none.
        """
        with self._lock:
            decision = self.file.undo()
            if decision is None:
                raise InputError("There is nothing to take back.")
            return self._answer(decision)

    def summary(self) -> Unblinded:
        """The result in a sentence."""
        if not decided_rows(self.file, self.rows):
            return Unblinded("Nothing was decided.")
        (comparison,) = blind_result(self.file, self.rows).comparisons()
        return Unblinded(comparison.sentence())

    @property
    def num_left(self) -> int:
        """Rows that wait for a decision."""
        return sum(self.file.choice(number) == "undecided" for number in self.shown)

    def close(self) -> None:
        """No more decisions."""
        self.file.close()

    def _row(self, number: int) -> dict[str, Any]:
        row, drawn = self.rows[number], self.file.head.rows[number]
        first, second = self.file.head.contenders
        right = second if drawn.left == first else first
        return {
            "number": number,
            "asked": row.asked,
            "reference": row.reference_text,
            "left": row.text(drawn.left),
            "right": row.text(right),
            "decision": asdict(self.file.decisions.get(number, Decision(number, "undecided"))),
        }

    def _answer(self, decision: Decision) -> dict[str, Any]:
        return {"decision": asdict(decision), **self._state()}

    def _state(self) -> dict[str, Any]:
        """Only what gives nobody away."""
        counts = Counter(self.file.choice(number) for number in self.shown)
        decided = len(self.shown) - counts["undecided"]
        return {
            "summary": {"num_decided": decided, "counts": {name: counts[name] for name in CHOICES}},
            "can_undo": self.file.can_undo,
        }

    def _checked(self, wish: Any) -> Decision:
        if not isinstance(wish, dict):
            raise InputError("A decision is an object.")
        number, choice, note = wish.get("number"), wish.get("choice"), wish.get("note", "")
        if type(number) is not int or number not in self.shown:
            raise InputError("There is no such row in this comparison.")
        if choice not in CHOICES:
            raise InputError(f"A choice is one of {', '.join(CHOICES)}.")
        if not _is_text(note) or len(note) > MOST_NOTE_CHARACTERS:
            raise InputError(f"A note is a text of at most {MOST_NOTE_CHARACTERS:,} characters.")
        return Decision(number, cast("Choice", choice), note.strip())


def _is_text(value: Any) -> bool:
    """Half of a surrogate pair is no text: it could not be written."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
