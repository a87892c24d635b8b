"""`luthier data dedup`: the first of equal rows stays, the others go to a file beside it, with the reason.

Equal means equal in everything that is learnt from, but for white space at the ends of texts. Nearly equal, on demand, is what
the check of data and the split mean by it: the same words whatever their case and punctuation, or a similarity of one's choice
(`data.near_duplicates`). Of a group of such rows the first stays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from luthier.data.any_rows import AnyItem, RecognisedFile, UnfitRows, read_again, recognise_files
from luthier.data.content import Content
from luthier.data.equality import class_of, equality_digest
from luthier.data.near_duplicates import ShingleStore
from luthier.data.open_file import is_compressed
from luthier.data.write_rows import require_new, row_files
from luthier.errors import InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Conversation, Document, LabelledAnswer, PreferencePair, Source

LEAST_SIMILARITY = 0.7
_SILENT = Silent()


@dataclass(frozen=True)
class DedupResult:
    """What was written.

    Attributes:
        path: Rows that stay, as they were.
        dropped: Rows that went: ``{"source", "reason", "row"}``.
        num_read: Rows read.
        num_equal: Dropped because they equal an earlier row.
        num_near: Dropped because they nearly do.
    """

    path: Path
    dropped: Path
    num_read: int
    num_equal: int
    num_near: int

    @property
    def num_kept(self) -> int:
        """Rows that stay."""
        return self.num_read - self.num_equal - self.num_near

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        paths = {"path": str(self.path), "dropped": str(self.dropped)}
        return {**self.__dict__, **paths, "num_kept": self.num_kept}


def data_dedup(
    names: Sequence[str | Path],
    path: Path,
    *,
    near: float | None = None,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> DedupResult:
    """Write the rows without those that repeat an earlier one.

    Args:
        names: Files, folders, patterns to read; duplicates are looked for among all rows of all of them.
        path: The file to write: .jsonl, .json, or these with .gz.
        near: Also drop rows of the same words as an earlier one, or at least this similar, 0.7 to 1; None for equal rows alone.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: The similarity makes no sense, or a file cannot be made.
        DataError: Rows cannot be read or do not fit.
    """
    if near is not None and not LEAST_SIMILARITY <= near <= 1:
        raise InputError(
            f"The similarity is {near}; it must be {LEAST_SIMILARITY} to 1. Below that, not all pairs would be found, and what "
            "is found is no duplicate."
        )
    dropped = dropped_path(path)
    require_new(path)
    require_new(dropped)
    reporter.stage("Recognise")
    files = recognise_files(names, format, columns or {}, reporter)
    reporter.stage("Compare")
    rows = _Compared(near)
    rows.read(files, reporter)
    reasons = rows.reasons()
    reporter.stage(f"Write {path}")
    with row_files([path, dropped]) as (kept, gone):
        number = 0
        for file in files:
            for read in read_again(file, reporter, "write"):
                reason = reasons.get(number)
                if reason is None:
                    kept.write(read.row.value, read.row.source)
                else:
                    entry = {"source": str(read.row.source), "reason": reason, "row": read.row.value}
                    gone.write(entry, read.row.source)
                number += 1
    num_equal = len(rows.equal)
    return DedupResult(path, dropped, number, num_equal, len(reasons) - num_equal)


def dropped_path(path: Path) -> Path:
    """``rows.jsonl`` → ``rows.dropped.jsonl``."""
    inner = Path(path.stem) if is_compressed(path) else path
    return path.with_name(f"{inner.stem}.dropped.jsonl")


class _Compared:
    """Hashes and shingles of all rows, and which of them repeat which."""

    def __init__(self, near: float | None) -> None:
        self._near = near
        # One for each label: answers that are judged differently are no duplicates.
        self._stores: dict[str, tuple[ShingleStore, list[int]]] = {}
        self._sources: list[Source] = []
        self.equal: dict[int, int] = {}
        self._same_words: dict[int, int] = {}

    def read(self, files: Sequence[RecognisedFile], reporter: Reporter) -> None:
        exact: dict[bytes, int] = {}
        by_words: dict[bytes, int] = {}
        unfit = UnfitRows()
        for file in files:
            for read in read_again(file, reporter, "compare"):
                number = len(self._sources)
                self._sources.append(read.row.source)
                if read.item is None:
                    unfit.add(read)
                    continue
                label = class_of(read.row.value, file.format)
                earlier = exact.setdefault(equality_digest(read.item, label), number)
                if earlier != number:
                    self.equal[number] = earlier
                    continue
                if self._near is None:
                    continue
                words = Content(_spoken(read.item))
                if isinstance(read.item, LabelledAnswer):
                    label = str(read.item.is_good)
                earlier = by_words.setdefault(_digest(f"{label}\n{words.content_key}"), number)
                if earlier != number:
                    self._same_words[number] = earlier
                    continue
                store, numbers = self._stores.setdefault(label, (ShingleStore(), []))
                store.add(words.compared)
                numbers.append(number)
        unfit.require_none(len(self._sources))

    def reasons(self) -> dict[int, str]:
        """Why each row is dropped that is."""
        found = {row: f"equals {self._sources[earlier]}" for row, earlier in self.equal.items()}
        found |= {row: f"has the same words as {self._sources[earlier]}" for row, earlier in self._same_words.items()}
        for store, numbers in self._stores.values():
            assert self._near is not None
            for text, first in _firsts(store.near_duplicate_pairs(self._near)).items():
                if text != first:
                    row, earlier = numbers[text], numbers[first]
                    found[row] = (
                        f"nearly equals {self._sources[earlier]} (or a row that does), similarity ≥ {self._near:g}"
                    )
        return found


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _spoken(item: AnyItem) -> Conversation | Document:
    """All that is said, as one conversation: of a pair both answers."""
    if isinstance(item, PreferencePair):
        return Conversation((*item.prompt, *item.chosen, *item.rejected), (), item.source)
    if isinstance(item, LabelledAnswer):
        return Conversation((*item.prompt, *item.answer), (), item.source)
    return item


def _firsts(pairs: Sequence[tuple[int, int]]) -> dict[int, int]:
    """For each text in a pair the first text of its group."""
    parent: dict[int, int] = {}

    def root(text: int) -> int:
        while parent.setdefault(text, text) != text:
            parent[text] = parent[parent[text]]
            text = parent[text]
        return text

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {text: root(text) for text in list(parent)}
