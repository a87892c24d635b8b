"""The file of a blind comparison: what was drawn, and what was decided, line after line as it was decided.

The first line says who is compared and which rows are looked at, with whose answer on the left. Every other line is one
decision, or takes one back; of several lines about a row the last one counts. A line is on the disk before the next decision is
taken.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, Self, cast

from luthier.errors import DataError, InputError
from luthier.evaluation.blind.draw import DrawnRow
from luthier.evaluation.contenders import ContenderName
from luthier.runs.atomic import write_text
from luthier.runs.manifest import now

KIND = "luthier blind comparison"
VERSION = 1
Choice = Literal["left", "right", "tie", "both_bad", "undecided"]
CHOICES: tuple[Choice, ...] = ("left", "right", "tie", "both_bad", "undecided")


@dataclass(frozen=True)
class Decision:
    """What was decided about a row.

    Attributes:
        number: Of the drawn row, from 0.
        choice: "undecided" for a row that has a note alone, or whose decision was taken back.
        note: Why, in the person's words.
        at: When.
    """

    number: int
    choice: Choice
    note: str = ""
    at: str = ""


@dataclass(frozen=True)
class BlindHead:
    """What is compared.

    Attributes:
        task: Name of the evaluated task.
        contenders: First (``tuned``) and second.
        against: As it was typed: a contender or a run.
        seed: Of the draw.
        num_rows: All rows of the task that both answered.
        rows: Those that are looked at.
    """

    task: str
    contenders: tuple[ContenderName, ContenderName]
    against: str
    seed: int
    num_rows: int
    rows: tuple[DrawnRow, ...]


class BlindFile:
    """Decisions on the disk; open it with `open` or make it with `create`.

    Attributes:
        decisions: The last of each row, by its number.
    """

    def __init__(self, path: Path, head: BlindHead, entries: Sequence[Mapping[str, Any]]) -> None:
        self.path, self.head = path, head
        self.decisions: dict[int, Decision] = {}
        self._before: list[Decision] = []
        self._file: IO[bytes] | None = None
        for line, entry in enumerate(entries, start=2):
            try:
                decision = _decision(entry, len(head.rows))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{path}:{line}: no decision ({error}); the file was changed.") from error
            self._take(decision, is_undo=bool(entry.get("is_undo")))

    @classmethod
    def create(cls, path: Path, head: BlindHead) -> Self:
        """Begin a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"kind": KIND, "version": VERSION, **asdict(head), "rows": [row._asdict() for row in head.rows]}
        write_text(path, json.dumps(content, ensure_ascii=False) + "\n")
        return cls(path, head, [])

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            InputError: It is not there.
            DataError: It is something else, or was changed.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"The comparison {path} cannot be read: {error.strerror}.") from error
        # A line without an end was being written when the machine stopped: it was not confirmed to anybody.
        lines = content[: content.rfind(b"\n") + 1].decode("utf-8", "replace").split("\n")[:-1]
        try:
            first, *others = [json.loads(line) for line in lines]
            if first["kind"] != KIND or first["version"] != VERSION:
                raise ValueError("another kind of file")
            a, b = first["contenders"]
            rows = tuple(DrawnRow(row["id"], row["left"], row["digest"]) for row in first["rows"])
            head = BlindHead(first["task"], (a, b), first["against"], first["seed"], first["num_rows"], rows)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is no comparison of luthier blind, or was changed ({error}).") from error
        return cls(path, head, others)

    def add(self, decision: Decision) -> Decision:
        """Write a decision; when this returns it is on the disk."""
        decision = replace(decision, at=now())
        self._write(asdict(decision))
        self._take(decision)
        return decision

    def undo(self) -> Decision | None:
        """Take the last decision back; returns what the row's is now, or None where nothing was decided."""
        if not self._before:
            return None
        before = replace(self._before[-1], at=now())
        self._write({**asdict(before), "is_undo": True})
        self._take(before, is_undo=True)
        return before

    @property
    def can_undo(self) -> bool:
        """Whether there is a decision to take back."""
        return bool(self._before)

    def choice(self, number: int) -> Choice:
        """What was decided about a row."""
        decision = self.decisions.get(number)
        return "undecided" if decision is None else decision.choice

    def winner(self, number: int) -> ContenderName | None:
        """Who won a decided row; None for a tie."""
        left, (first, second) = self.head.rows[number].left, self.head.contenders
        right = second if left == first else first
        return {"left": left, "right": right}.get(self.choice(number))

    def close(self) -> None:
        """No more decisions."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, decision: Decision, *, is_undo: bool = False) -> None:
        if not is_undo:
            self._before.append(self.decisions.get(decision.number, Decision(decision.number, "undecided")))
        elif self._before:
            self._before.pop()
        self.decisions[decision.number] = decision

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._file is None:
            self._file = self.path.open("r+b")
            self._file.truncate(self._file.read().rfind(b"\n") + 1)
            self._file.seek(0, os.SEEK_END)
        self._file.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def _decision(entry: Mapping[str, Any], num_rows: int) -> Decision:
    number = int(entry["number"])
    if entry["choice"] not in CHOICES or not 0 <= number < num_rows:
        raise ValueError(f"{entry['choice']!r} about row {number}")
    return Decision(number, cast("Choice", entry["choice"]), str(entry["note"]), str(entry["at"]))
