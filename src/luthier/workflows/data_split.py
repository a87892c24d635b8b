"""`luthier data split`: the split that training makes, as two files. Rows are written as they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.any_rows import AnyItem, RecognisedFile, UnfitRows, read_again, recognise_files
from luthier.data.split import split
from luthier.data.write_rows import require_new, row_files
from luthier.errors import DataError, InputError, ResourceError
from luthier.reporter import Reporter, Silent
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair

_SILENT = Silent()


@dataclass(frozen=True)
class SplitResult:
    """What was written.

    Attributes:
        train: File with the rows to learn from.
        validation: File with the rows held out.
        num_train: Rows in it.
        num_validation: Rows in it.
        num_groups: Groups of equal or nearly equal rows; each is on one side.
        largest_group: Rows in the largest of them.
    """

    train: Path
    validation: Path
    num_train: int
    num_validation: int
    num_groups: int
    largest_group: int

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.__dict__, "train": str(self.train), "validation": str(self.validation)}


def data_split(
    names: Sequence[str | Path],
    folder: Path,
    *,
    fraction: float = 0.1,
    seed: int = 0,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> SplitResult:
    """Write ``train.jsonl`` and ``validation.jsonl``; training on the same files with this fraction and seed splits alike.

    Args:
        names: Files, folders, patterns to read.
        folder: Where both files are written; made where it does not exist.
        fraction: Share of rows to hold out, above 0 and below 1.
        seed: Decides which rows are held out (train.seed in a recipe).
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: The fraction makes no sense, or files of these names exist.
        DataError: Rows cannot be read or do not fit, or all belong together.
    """
    if not 0 < fraction < 1:
        raise InputError(f"The share to hold out is {fraction}; it must be above 0 and below 1, e.g. 0.1.")
    paths = [folder / "train.jsonl", folder / "validation.jsonl"]
    if folder.is_dir():
        for path in paths:
            require_new(path)
    reporter.stage("Read")
    files = recognise_files(names, format, columns or {}, reporter)
    items = _read(files, reporter)
    reporter.stage("Group equal and nearly equal rows")
    sides = split(items, fraction, seed)
    if not sides.validation:
        raise DataError(
            f"All {len(items)} rows belong together (equal or nearly equal prompts or contents): none can be held out without "
            "a leak. Add different rows."
        )
    reporter.stage(f"Write to {folder}")
    _make(folder)
    held_out = set(sides.validation)
    with row_files(paths) as (train, validation):
        number = 0
        for file in files:
            for read in read_again(file, reporter, "write"):
                (validation if number in held_out else train).write(read.row.value, read.row.source)
                number += 1
        counts = train.num_rows, validation.num_rows
    return SplitResult(paths[0], paths[1], *counts, sides.num_groups, sides.largest_group)


def _read(files: Sequence[RecognisedFile], reporter: Reporter) -> list[Conversation | Document]:
    items: list[Conversation | Document] = []
    unfit = UnfitRows()
    for file in files:
        for read in read_again(file, reporter, "read"):
            if read.item is None:
                unfit.add(read)
            else:
                items.append(compared(read.item))
    unfit.require_none(len(items) + unfit.count)
    return items


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"The folder {folder} cannot be made: {error.strerror}. Choose another.") from error


def compared(item: AnyItem) -> Conversation | Document:
    """A row as what it is grouped by: of judged answers the prompt with the good one, as one turn."""
    if isinstance(item, PreferencePair | LabelledAnswer):
        answer = item.chosen if isinstance(item, PreferencePair) else item.answer
        text = "\n".join(message.content for message in answer)
        return Conversation((*item.prompt, Message("assistant", text)), (), item.source)
    return item
