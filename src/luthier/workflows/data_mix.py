"""`luthier data mix`: one file from several, by shares or by numbers of rows, and a note of where each row came from.

Rows of a source keep their order, the sources follow one another at random: to train, rows are shuffled anyway. Beside the mix
stands OUT.sources.jsonl with the source of each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from luthier.data.any_rows import AnyItem, ReadRow, RecognisedFile, read_again, recognise_files
from luthier.data.layouts import LAYOUTS
from luthier.data.lint.row import LintRow
from luthier.data.mixing import WHEN_EXHAUSTED, MixSource, WhenExhausted, chosen_rows, order_of_sources, plan_mix
from luthier.data.open_file import is_compressed
from luthier.data.preferences import LABEL_COLUMNS, PREFERENCE_COLUMNS
from luthier.data.targets import TARGETS
from luthier.data.write_rows import RowFile, require_new, row_files
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Source
from luthier.workflows.data_convert import extra_columns, say_item

_SILENT = Silent()
_REPORT_EVERY_ROWS = 500
_TOKENISED_AT_ONCE = 256


@dataclass(frozen=True)
class MixedSource:
    """One source in the mix.

    Attributes:
        name: As it was given.
        format: Its layout.
        num_available: Rows that it has.
        num_rows: Rows that it gave.
        is_exhausted: Whether it had fewer than it was to give, or ended the mix.
        num_characters: Of all texts that it gave.
        num_tokens: Of these texts, without a chat template; None without a tokenizer.
    """

    name: str
    format: str
    num_available: int
    num_rows: int
    is_exhausted: bool
    num_characters: int
    num_tokens: int | None


@dataclass(frozen=True)
class MixResult:
    """What was written.

    Attributes:
        path: The mix.
        notes: The source of each of its rows.
        num_rows: Rows of the mix.
        when_exhausted: What happened where a source had too few rows.
        sources: In the order given.
    """

    path: Path
    notes: Path
    num_rows: int
    when_exhausted: WhenExhausted
    sources: tuple[MixedSource, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        sources = [asdict(source) for source in self.sources]
        return {**self.__dict__, "path": str(self.path), "notes": str(self.notes), "sources": sources}


def data_mix(
    sources: Sequence[MixSource],
    path: Path,
    *,
    num_rows: int | None = None,
    seed: int = 0,
    when_exhausted: WhenExhausted = "stop",
    to: str | None = None,
    tokenizer: str | None = None,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> MixResult:
    """Write one file from several.

    Args:
        sources: Files, folders or patterns with what each gives.
        path: The file to write: .jsonl, .json, or these with .gz.
        num_rows: Of the mix, where sources have shares; None for as many as there can be.
        seed: Decides which rows, and the order of sources.
        when_exhausted: ``stop``: the mix ends where a source is used up (by shares), or the source gives what it has (by
            numbers). ``repeat``: its rows come again.
        to: Layout to write, of `luthier.data.targets.TARGETS`; None for that of the sources, which must then be one.
        tokenizer: Model whose tokens are counted.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: What is asked of the sources makes no sense, their layouts differ, or a file cannot be made.
        DataError: Rows cannot be read, do not fit, or cannot be said whole in the layout to write.
    """
    _require_sense(sources, when_exhausted, to)
    notes = notes_path(path)
    require_new(path)
    require_new(notes)
    counter = _Counter(tokenizer, len(sources), reporter)
    reporter.stage("Recognise")
    files = [recognise_files([source.name], format, columns or {}, reporter) for source in sources]
    if to is None:
        _require_one_layout([file for own in files for file in own])
    available = [sum(file.num_rows for file in own) for own in files]
    plan = plan_mix(sources, available, num_rows, when_exhausted)
    if not sum(plan.counts):
        raise InputError(
            "By these shares the smallest source does not give a single row: name other shares, or repeat it."
        )
    reporter.stage(f"Write {path}")
    readers = [_rows_of(own, *chosen_rows(available[i], plan.counts[i], seed, i)) for i, own in enumerate(files)]
    with row_files([path, notes]) as (out, note):
        _write(readers, order_of_sources(plan.counts, seed), _Writer(out, note, to), counter, reporter)
    formats = [", ".join(dict.fromkeys(file.format for file in own)) for own in files]
    characters, tokens = counter.end()
    mixed = (
        MixedSource(s.name, formats[i], available[i], plan.counts[i], i in plan.exhausted, characters[i], tokens[i])
        for i, s in enumerate(sources)
    )
    return MixResult(path, notes, sum(plan.counts), when_exhausted, tuple(mixed))


def _write(
    readers: Sequence[Iterator[tuple[RecognisedFile, ReadRow]]],
    order: Sequence[int],
    writer: _Writer,
    counter: _Counter,
    reporter: Reporter,
) -> None:
    for number, source in enumerate(order):
        if number % _REPORT_EVERY_ROWS == 0:
            reporter.progress("mix", number, len(order))
        file, read = next(readers[source])
        if read.item is None:
            raise DataError(
                f"{read.row.source} does not fit its layout: {read.reason}; nothing was written. Correct it or take it out."
            )
        writer.write(file, read, read.item)
        counter.add(source, read.item)
    for reader in readers:
        # To the end of its files, where it sees whether they changed.
        for _ in reader:
            raise AssertionError("a source has rows that the mix does not take")
    reporter.progress("mix", len(order), len(order))


def notes_path(path: Path) -> Path:
    """``mix.jsonl`` → ``mix.sources.jsonl``."""
    inner = Path(path.stem) if is_compressed(path) else path
    return path.with_name(f"{inner.stem}.sources.jsonl")


def _require_sense(sources: Sequence[MixSource], when_exhausted: str, to: str | None) -> None:
    if len(sources) < 2:
        raise InputError("A mix has at least two sources: luthier data mix OUT A.jsonl:0.7 B.jsonl:0.3")
    if when_exhausted not in WHEN_EXHAUSTED:
        raise InputError(f"A source that is used up can {' or '.join(WHEN_EXHAUSTED)}; found '{when_exhausted}'.")
    if to is not None and to not in TARGETS:
        raise InputError(f"Rows cannot be written as '{to}'. Known: {', '.join(TARGETS)}.")


def _require_one_layout(files: Sequence[RecognisedFile]) -> None:
    """Rows of several layouts in one file would be read by that of the most."""
    layouts = {(file.format, _needed(file)): file.path for file in reversed(files)}
    if len(layouts) > 1:
        found = "\n".join(
            f"  {path}: {name} ({', '.join(sorted(columns))})" for (name, columns), path in reversed(layouts.items())
        )
        raise InputError(f"The sources have different layouts; --to messages brings them into one:\n{found}")


def _needed(file: RecognisedFile) -> frozenset[str]:
    """The columns by which the layout is known, of those that stand for one another."""
    read = set(file.columns) - set(file.unused)
    if file.format in LAYOUTS:
        known = {part for needed in LAYOUTS[file.format].needed for part in needed}
    else:
        known = {name for pair in PREFERENCE_COLUMNS for name in pair} | set(LABEL_COLUMNS)
    return frozenset(read & known or read)


def _rows_of(
    files: Sequence[RecognisedFile], passes: int, marked: bytearray
) -> Iterator[tuple[RecognisedFile, ReadRow]]:
    """The rows that a source gives, in its order: all of them some times over, then those marked."""
    silent = Silent()
    for this_pass in range(passes + (1 if any(marked) else 0)):
        number = 0
        for file in files:
            for read in read_again(file, silent, "mix"):
                if this_pass < passes or marked[number]:
                    yield file, read
                number += 1


class _Writer:
    """Writes rows as they are, or in another layout, and where they came from."""

    def __init__(self, out: RowFile, notes: RowFile, to: str | None) -> None:
        self._out, self._notes, self._to = out, notes, to

    def write(self, file: RecognisedFile, read: ReadRow, item: AnyItem) -> None:
        """The next row of the mix."""
        row = read.row
        self._out.write(row.value if self._to is None else self._said(file, row.value, item, row.source), row.source)
        self._notes.write({"row": self._out.num_rows, "source": str(row.source)}, row.source)

    def _said(self, file: RecognisedFile, values: Mapping[str, Any], item: AnyItem, source: Source) -> dict[str, Any]:
        assert self._to is not None
        said = say_item(item, TARGETS[self._to])
        extras, not_taken = extra_columns(file, values)
        lost = (*said.lost, *(f"column '{name}'" for name in not_taken))
        if said.values is None or lost:
            raise DataError(
                f"{source}: {self._to} cannot say {', '.join(lost)}; nothing was written. Convert this source first: "
                f"luthier data convert {file.path} OUT.jsonl --to {self._to} --allow-loss"
            )
        return {**said.values, **extras}


class _Counter:
    """Counts what each source gave."""

    def __init__(self, model: str | None, num_sources: int, reporter: Reporter) -> None:
        self._tokenizer = _load(model, reporter) if model else None
        self._characters = [0] * num_sources
        self._tokens = [0] * num_sources
        self._waiting: list[tuple[int, str]] = []

    def add(self, source: int, item: AnyItem) -> None:
        """A row of a source."""
        texts = LintRow(item, 0).texts
        self._characters[source] += sum(map(len, texts))
        if self._tokenizer is not None:
            self._waiting += [(source, text) for text in texts]
            if len(self._waiting) >= _TOKENISED_AT_ONCE:
                self._count()

    def end(self) -> tuple[list[int], Sequence[int | None]]:
        """Characters and, if there is a tokenizer, tokens."""
        self._count()
        return self._characters, [None] * len(self._tokens) if self._tokenizer is None else self._tokens

    def _count(self) -> None:
        if self._tokenizer is not None and self._waiting:
            texts = [text for _, text in self._waiting]
            for (source, _), ids in zip(
                self._waiting, self._tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True
            ):
                self._tokens[source] += len(ids)
        self._waiting = []


def _load(model: str, reporter: Reporter) -> Any:
    from luthier.models.load import find_model, load_tokenizer

    reporter.stage(f"Load the tokenizer of {model}")
    return load_tokenizer(find_model(model))
