"""`luthier data decontaminate`: rows that an evaluation set has too go to a file beside, with the reason and that row.

What counts as having a row too is said in `data.contamination`. Evaluation rows may have the layout of the rows or another.
Those of none that is known are compared by every text in them, because nothing has to be learnt from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.any_rows import RecognisedFile, UnfitRows, read_again, recognise_files
from luthier.data.contamination import LEAST_RUN_WORDS, RUN_WORDS, ContaminatedRows, ContaminationIndex, Kind, Match
from luthier.data.find_files import find_files
from luthier.data.row import Row
from luthier.data.sources import read_rows
from luthier.data.write_rows import require_new, row_files
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Document, Source
from luthier.workflows.data_dedup import dropped_path

_SILENT = Silent()
_LEAST_WORDS = 4
_KINDS: tuple[Kind, ...] = ("equal", "near", "run")


@dataclass(frozen=True)
class DecontaminateResult:
    """What was written.

    Attributes:
        path: Rows that stay, as they were.
        dropped: Rows that went: ``{"source", "reason", "match", "evaluation_row", "row"}``.
        num_read: Rows read.
        num_evaluation: Rows of the evaluation sets.
        num_without_layout: Of those, rows compared by every text in them.
        counts: Rows that went, by what was the strongest reason: equal, near, run.
        num_met: Evaluation rows that were named as the reason.
    """

    path: Path
    dropped: Path
    num_read: int
    num_evaluation: int
    num_without_layout: int
    counts: dict[str, int]
    num_met: int

    @property
    def num_kept(self) -> int:
        """Rows that stay."""
        return self.num_read - sum(self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        paths = {"path": str(self.path), "dropped": str(self.dropped)}
        return {**self.__dict__, **paths, "num_kept": self.num_kept}


def data_decontaminate(
    names: Sequence[str | Path],
    path: Path,
    against: Sequence[str | Path],
    *,
    run_words: int | None = RUN_WORDS,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> DecontaminateResult:
    """Write the rows without those that evaluation sets have too.

    Args:
        names: Files, folders, patterns to read.
        path: The file to write: .jsonl, .json, or these with .gz.
        against: Files, folders, patterns with evaluation rows.
        run_words: How many words in a row must be the same; None to look at equality and similarity alone.
        format: Layout of the rows to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: There is nothing to compare with, a length that makes no sense, or a file cannot be made.
        DataError: Rows cannot be read or do not fit.
    """
    if not against:
        raise InputError("Name at least one evaluation file: --against EVAL.")
    if run_words is not None and run_words < LEAST_RUN_WORDS:
        raise InputError(
            f"Runs of {run_words} words are everyday phrases; take {LEAST_RUN_WORDS} or more ({RUN_WORDS} is usual), or 0 for "
            "none."
        )
    dropped = dropped_path(path)
    require_new(path)
    require_new(dropped)
    index, evaluation = ContaminationIndex(run_words), _EvaluationRows(against)
    reporter.stage("Read the evaluation sets")
    evaluation.add_to(index, format, columns or {}, reporter)
    if not len(index):
        raise DataError("The evaluation sets hold no text to compare with.")
    reporter.stage("Recognise")
    files = recognise_files(names, format, columns or {}, reporter)
    reporter.stage("Compare")
    found, num_read = _compared(files, index, reporter)
    met = evaluation.values({match.source for match in found.values() if match.source})
    reporter.stage(f"Write {path}")
    with row_files([path, dropped]) as (kept, gone):
        number = 0
        for file in files:
            for read in read_again(file, reporter, "write"):
                match = found.get(number)
                if match is None:
                    kept.write(read.row.value, read.row.source)
                else:
                    gone.write(_entry(read.row, match, met), read.row.source)
                number += 1
    kinds = Counter(match.kind for match in found.values())
    counts: dict[str, int] = {kind: kinds[kind] for kind in _KINDS}
    return DecontaminateResult(
        path, dropped, num_read, evaluation.num_rows, evaluation.num_without_layout, counts, len(met)
    )


def _compared(
    files: Sequence[RecognisedFile], index: ContaminationIndex, reporter: Reporter
) -> tuple[dict[int, Match], int]:
    """Rows that the index has too, by number, and how many rows there are."""
    rows, unfit, num_read = ContaminatedRows(index), UnfitRows(), 0
    for file in files:
        for read in read_again(file, reporter, "compare"):
            if read.item is None:
                unfit.add(read)
            else:
                rows.see(num_read, read.item)
            num_read += 1
    unfit.require_none(num_read)
    return rows.found(), num_read


def _entry(row: Row, match: Match, met: Mapping[Source, Mapping[str, Any]]) -> dict[str, Any]:
    said = {"kind": match.kind, "part": match.part, "source": str(match.source), "measure": round(match.measure, 4)}
    theirs = met.get(match.source) if match.source else None
    return {
        "source": str(row.source),
        "reason": match.words,
        "match": said,
        "evaluation_row": theirs,
        "row": row.value,
    }


class _EvaluationRows:
    """Rows of evaluation sets, read for their words and read again for those that were met."""

    def __init__(self, names: Sequence[str | Path]) -> None:
        self._paths = find_files(names)
        self.num_rows = 0
        self.num_without_layout = 0

    def add_to(self, index: ContaminationIndex, format: str, columns: Mapping[str, str], reporter: Reporter) -> None:
        """Every row goes into the index."""
        for path in self._paths:
            file = _recognised(path, format, columns, reporter)
            if file is None:
                for row in read_rows(path):
                    self._add_texts(row, index)
                reporter.say(f"{path}: no known layout; every text of its rows is compared.")
                continue
            for read in read_again(file, reporter, "read"):
                if read.item is None:
                    self._add_texts(read.row, index)
                else:
                    self.num_rows += 1
                    index.add(read.item)

    def _add_texts(self, row: Row, index: ContaminationIndex) -> None:
        self.num_rows += 1
        self.num_without_layout += 1
        for text in _texts(row.value):
            if len(text.split()) >= _LEAST_WORDS:  # a class or a name alone is no evaluation row
                index.add(Document(text, row.source))

    def values(self, wanted: set[Source]) -> dict[Source, Mapping[str, Any]]:
        """The rows at these places, as they stand in their files."""
        files = {source.file for source in wanted}
        rows = (row for path in self._paths if not files.isdisjoint((str(path), path)) for row in read_rows(path))
        return {row.source: row.value for row in rows if row.source in wanted}


def _recognised(path: str, format: str, columns: Mapping[str, str], reporter: Reporter) -> RecognisedFile | None:
    """The file with the layout of the rows, or its own; None where neither is there."""
    for layout, mapping in ((format, columns), ("auto", {})):
        try:
            (file,) = recognise_files([path], layout, mapping, reporter)
        except DataError:  # if it is the file itself that is wrong, reading its rows says so again
            continue
        return file
    return None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
