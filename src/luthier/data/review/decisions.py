"""The file of decisions: which rows are looked at, and what was decided about each, line after line as it was decided.

The first line says what was reviewed and which rows; every other line is one decision, or takes one back. Of several lines
about a row the last one counts. A line is on the disk before the next decision is taken: after a crash nothing is missing but
what was just being written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, Self, cast

from luthier.data.review.sample import SampledRow
from luthier.data.text_places import PlacePath
from luthier.errors import DataError, InputError
from luthier.runs.atomic import write_text
from luthier.runs.manifest import now

KIND = "luthier data review"
VERSION = 1
Verdict = Literal["keep", "drop", "fix", "undecided"]
VERDICTS: tuple[Verdict, ...] = ("keep", "drop", "fix", "undecided")


@dataclass(frozen=True)
class TextEdit:
    """What stood at a place of a row, and what is to stand there."""

    path: PlacePath
    before: str
    after: str


@dataclass(frozen=True)
class RowDecision:
    """What was decided about a row.

    Attributes:
        row: Its number, counted from 1.
        verdict: "undecided" for a row that has a note alone, or whose decision was taken back.
        note: Why, in the reviewer's words.
        edits: Changes of its texts, of a row to fix.
        at: When.
    """

    row: int
    verdict: Verdict
    note: str = ""
    edits: tuple[TextEdit, ...] = ()
    at: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self)


@dataclass(frozen=True)
class ReviewHead:
    """What is reviewed.

    Attributes:
        names: Files, folders, patterns, as they were given.
        format: Layout as it was asked for.
        columns: ``{part: column}`` where names differ.
        num_rows: All rows.
        strata: Rows of each stratum.
        rows: The sample, in the order in which it is looked at.
    """

    names: tuple[str, ...]
    format: str
    columns: Mapping[str, str]
    num_rows: int
    strata: Mapping[str, int]
    rows: tuple[SampledRow, ...]


class DecisionFile:
    """Decisions on the disk; open it with `open` or make it with `create`.

    Attributes:
        head: What is reviewed.
        decisions: The last of each row.
    """

    def __init__(self, path: Path, head: ReviewHead, entries: Sequence[Mapping[str, Any]]) -> None:
        self.path = path
        self.head = head
        self.decisions: dict[int, RowDecision] = {}
        self._before: list[RowDecision] = []
        self._file: IO[bytes] | None = None
        known = {row.number for row in head.rows}
        for number, entry in enumerate(entries, start=2):
            try:
                decision = _decision(entry)
                if decision.row not in known:
                    raise ValueError(f"row {decision.row} is not in the sample")
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}:{number}: no decision ({error}); the file was changed.") from error
            self._take(decision, is_undo=bool(entry.get("is_undo")))

    @classmethod
    def create(cls, path: Path, head: ReviewHead) -> Self:
        """Begin a file.

        Raises:
            InputError: It cannot be made there.
        """
        if path.suffix.lower() != ".jsonl":
            raise InputError(f"{path}: decisions are written as .jsonl; name the file so.")
        if path.exists():
            raise InputError(f"{path} exists already and is not overwritten. Choose another name or remove it.")
        if not path.absolute().parent.is_dir():
            raise InputError(f"There is no folder {path.absolute().parent}; make it first.")
        content = {"kind": KIND, "version": VERSION, **asdict(head), "rows": [row._asdict() for row in head.rows]}
        write_text(path.absolute(), json.dumps(content, ensure_ascii=False) + "\n")
        return cls(path, head, [])

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a file to go on with it or to apply it.

        Raises:
            InputError: It is not there.
            DataError: It is something else, or was changed.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"The decisions {path} cannot be read: {error.strerror}.") from error
        # A line without an end was being written when the machine stopped: it was not confirmed to anybody.
        lines = content[: content.rfind(b"\n") + 1].decode("utf-8", "replace").split("\n")[:-1]
        try:
            first, *others = [json.loads(line) for line in lines]
            is_ours = first.get("kind") == KIND and first.get("version") == VERSION
        except (ValueError, AttributeError):
            first, others, is_ours = {}, [], False
        if not is_ours:
            raise DataError(f"{path} holds no decisions of luthier data review (of this version); name another file.")
        try:
            rows = tuple(SampledRow(r["number"], r["digest"], r["stratum"], tuple(r["rules"])) for r in first["rows"])
            head = ReviewHead(
                tuple(first["names"]), first["format"], first["columns"], first["num_rows"], first["strata"], rows
            )
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}:1: the first line was changed ({error}); what was reviewed is not known."
            ) from error
        return cls(path, head, others)

    def add(self, decision: RowDecision) -> RowDecision:
        """Write a decision; when this returns it is on the disk."""
        decision = replace(decision, at=now())
        self._write(decision.to_json())
        self._take(decision)
        return decision

    def undo(self) -> RowDecision | None:
        """Take the last decision back; returns what the row's is now, or None where nothing was decided."""
        if not self._before:
            return None
        before = replace(self._before[-1], at=now())
        self._write({**before.to_json(), "is_undo": True})
        self._take(before, is_undo=True)
        return before

    @property
    def can_undo(self) -> bool:
        """Whether there is a decision to take back."""
        return bool(self._before)

    def close(self) -> None:
        """No more decisions."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, decision: RowDecision, *, is_undo: bool = False) -> None:
        if not is_undo:
            self._before.append(self.decisions.get(decision.row, RowDecision(decision.row, "undecided")))
        elif self._before:
            self._before.pop()
        self.decisions[decision.row] = decision

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = self.path.open("r+b")
            self._file.seek(0)
            self._file.truncate(self._file.read().rfind(b"\n") + 1)
            self._file.seek(0, os.SEEK_END)
        self._file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def _decision(entry: Mapping[str, Any]) -> RowDecision:
    edits = tuple(TextEdit(tuple(e["path"]), e["before"], e["after"]) for e in entry["edits"])
    if entry["verdict"] not in VERDICTS:
        raise ValueError(f"verdict {entry['verdict']!r}")
    return RowDecision(
        int(entry["row"]), cast("Verdict", entry["verdict"]), str(entry["note"]), edits, str(entry["at"])
    )
