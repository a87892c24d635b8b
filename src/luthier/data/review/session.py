"""A review as a page works on it: rows with their texts and findings, decisions checked and saved, one at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard, cast

from luthier.data.any_rows import RecognisedFile
from luthier.data.messages import BadRowError
from luthier.data.review.decisions import VERDICTS, DecisionFile, RowDecision, TextEdit, Verdict
from luthier.data.review.sample import SampledRow
from luthier.data.review.summary import Summary, summarise
from luthier.data.row import Row
from luthier.data.text_places import PlacePath, TextPlace, text_places, value_at, with_value
from luthier.errors import InputError
from luthier.types import Source

MOST_NOTE_CHARACTERS = 4000


class Seen(NamedTuple):
    """What a rule saw in a row."""

    rule: str
    severity: str
    message: str


@dataclass(frozen=True)
class ReviewRow:
    """A row to look at.

    Attributes:
        sampled: Its number and stratum.
        row: As it was read.
        file: Knows the layout.
        findings: What the lint says of it.
    """

    sampled: SampledRow
    row: Row
    file: RecognisedFile
    findings: tuple[Seen, ...]

    def places(self, columns: Mapping[str, str]) -> list[TextPlace]:
        """Where its texts stand."""
        return text_places(self.row.value, self.file.unused, columns)


class ReviewSession:
    """Rows and decisions. Safe to be called from several threads.

    Args:
        file: Where decisions go.
        rows: In the order in which they are looked at.
    """

    def __init__(self, file: DecisionFile, rows: Sequence[ReviewRow]) -> None:
        self.file = file
        self.rows = rows
        self._by_number = {row.sampled.number: row for row in rows}
        self._columns = file.head.columns
        self._lock = threading.Lock()

    @property
    def title(self) -> str:
        """What is reviewed."""
        return " · ".join(self.file.head.names)

    def content(self) -> dict[str, Any]:
        """Everything a page shows."""
        with self._lock:
            return {"rows": [self._row_content(row) for row in self.rows], **self._state()}

    def decide(self, wish: Any) -> dict[str, Any]:
        """Check and save a decision: ``{"row", "verdict", "note", "edits": [{"path", "after"}]}``.

        Returns:
            The row's decision and the state of the review.

        Raises:
            InputError: It is none, or the row would not fit its layout.
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

    def summary(self) -> Summary:
        """What the decisions say."""
        head = self.file.head
        decided = [
            (row.sampled.stratum, found.verdict)
            for row in self.rows
            if (found := self.file.decisions.get(row.sampled.number)) and found.verdict != "undecided"
        ]
        return summarise(head.num_rows, head.strata, cast("Any", decided), len(self.rows))

    def close(self) -> None:
        """No more decisions."""
        self.file.close()

    def _answer(self, decision: RowDecision) -> dict[str, Any]:
        return {"decision": decision.to_json(), **self._state()}

    def _state(self) -> dict[str, Any]:
        return {"summary": self.summary().to_json(), "can_undo": self.file.can_undo}

    def _row_content(self, row: ReviewRow) -> dict[str, Any]:
        places = row.places(self._columns)
        known = {place.path[0] for place in places}
        rest = {name: value for name, value in row.row.value.items() if name not in known}
        decision = self.file.decisions.get(row.sampled.number, RowDecision(row.sampled.number, "undecided"))
        return {
            "number": row.sampled.number,
            "source": _short(row.row.source),
            "stratum": row.sampled.stratum,
            "findings": [found._asdict() for found in row.findings],
            "texts": [
                {"path": list(p.path), "role": p.role, "form": p.form, "text": value_at(row.row.value, p.path)}
                for p in places
            ],
            "rest": json.dumps(rest, ensure_ascii=False, indent=2) if rest else "",
            "decision": decision.to_json(),
        }

    def _checked(self, wish: Any) -> RowDecision:
        if not isinstance(wish, dict):
            raise InputError("A decision is an object.")
        number, verdict, note = wish.get("row"), wish.get("verdict"), wish.get("note", "")
        row = self._by_number.get(number) if type(number) is int else None
        if row is None:
            raise InputError("There is no such row in this review.")
        if verdict not in VERDICTS:
            raise InputError(f"A verdict is one of {', '.join(VERDICTS)}.")
        if not _is_text(note) or len(note) > MOST_NOTE_CHARACTERS:
            raise InputError(f"A note is a text of at most {MOST_NOTE_CHARACTERS:,} characters.")
        edits = self._edits(row, wish.get("edits", [])) if verdict == "fix" else ()
        if verdict == "fix" and not edits:
            raise InputError("Nothing was changed, so there is nothing to fix.")
        return RowDecision(row.sampled.number, cast("Verdict", verdict), note.strip(), edits)

    def _edits(self, row: ReviewRow, wishes: Any) -> tuple[TextEdit, ...]:
        places = {place.path: place for place in row.places(self._columns)}
        edits: list[TextEdit] = []
        values: Any = row.row.value
        for wish in wishes if isinstance(wishes, list) else ():
            path, after = _path_of(wish), wish.get("after") if isinstance(wish, dict) else None
            if path not in places or not _is_text(after):
                raise InputError("An edit names a text of the row and what is to stand there.")
            before = value_at(row.row.value, path)
            if places[path].form == "json" and after != before:
                _require_json(after)
            if after != before:
                edits.append(TextEdit(path, before, after))
                values = with_value(values, path, after)
        try:
            row.file.to_item(Row(values, row.row.source))
        except BadRowError as bad:
            raise InputError(
                f"The row would not fit its layout any more: {bad}. Drop it, or write something else."
            ) from bad
        return tuple(edits)


def _path_of(wish: Any) -> PlacePath:
    steps: Any = wish.get("path") if isinstance(wish, dict) else None
    return tuple(steps) if isinstance(steps, list) and all(isinstance(step, str | int) for step in steps) else ()


def _is_text(value: Any) -> TypeGuard[str]:
    """Half of a surrogate pair is no text: it could not be written."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _require_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise InputError(f"The call of a tool would be no JSON any more: {error}.") from error


def _short(source: Source) -> str:
    return f"{source.file.rpartition('/')[2]}:{source.line}"
