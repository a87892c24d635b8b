"""Files in, two token sets and a report out: the whole data path, in the order in which it happens.

read → recognise → convert → limit → split → tokenise → cache → report. Nothing that is wrong with the data gets past here:
rows that do not fit, rows without a learnt token, an empty side, files that change under the reader are all `DataError`s.
What is merely suspicious becomes a `Finding` in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from luthier.data import cache, findings
from luthier.data.answers import JudgedItem, compared, imitated, tokenize_answers
from luthier.data.find_files import find_files
from luthier.data.length_bins import length_histogram
from luthier.data.lint import conflicting_preferences, identical_pair, length_bias
from luthier.data.lint.rule import look
from luthier.data.read_files import DataFile, ReadFiles, read_files
from luthier.data.report import DataReport, SideReport, list_rows
from luthier.data.row_kinds import AnyRow, RowKind
from luthier.data.sources import hash_source
from luthier.data.split import Split, group_rows, split
from luthier.data.tokenize import Item, Overlong, Renderer, Tokenized, TokenizedSet, tokenize
from luthier.data.tokenizer_check import tokenizer_fingerprint
from luthier.errors import DataError
from luthier.reporter import Reporter, Silent
from luthier.types import Conversation, Document
from luthier.units import format_count, format_share

_SILENT = Silent()
_RULES_OF_PAIRS = (identical_pair.RULE, conflicting_preferences.RULE, length_bias.RULE)


class Template(Renderer, findings.Template, Protocol):
    """What of `template.ChatTemplate` is needed here."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that it renders for."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides how messages are rendered."""
        ...


@dataclass(frozen=True)
class _Reading:
    """How to read the rows again: what `conversations` needs after the tokens came from the cache."""

    train_files: tuple[DataFile, ...]
    validation_files: tuple[DataFile, ...]
    format: str
    columns: Mapping[str, str]
    limit: int | None
    rows: RowKind

    def read(self, expected: Mapping[str, str] | None = None) -> tuple[ReadFiles, ReadFiles]:
        """Both lists of files; `expected` maps files to the SHA-256 that they must have."""
        sides = (self.train_files, self.validation_files)
        train, validation = (
            read_files(files, self.format, self.columns, self.limit, expected, rows=self.rows) for files in sides
        )
        return train, validation


@dataclass(frozen=True)
class PreparedData:
    """What training needs of its data.

    Attributes:
        train: Examples to learn from. `Example.row` counts the rows of all training files, then those of all validation files.
        validation: Examples to validate on; may be empty.
        report: What happened on the way.
    """

    train: TokenizedSet
    validation: TokenizedSet
    report: DataReport
    _reading: _Reading

    @cached_property
    def items(self) -> list[AnyRow]:
        """All rows by their number, dropped ones too; read again from the files when first asked for.

        Raises:
            DataError: The files are no longer those that the tokens were made from.
        """
        reports = (*self.report.files, *self.report.validation_files)
        train, validation = self._reading.read({report.path: report.sha256 for report in reports})
        return train.items + validation.items

    @property
    def train_conversations(self) -> list[Item]:
        """The rows that `train` was made from, in its order, once each; of pairs the chosen answers."""
        return self._items_of(self.train)

    @property
    def validation_conversations(self) -> list[Item]:
        """The rows that `validation` was made from, in its order, once each; of pairs the chosen answers."""
        return self._items_of(self.validation)

    def _items_of(self, tokens: TokenizedSet) -> list[Item]:
        return [imitated(self.items[row]) for row in dict.fromkeys(tokens.rows.tolist())]


def prepare(
    train_files: Sequence[DataFile],
    validation_files: Sequence[DataFile] = (),
    *,
    template: Template,
    fraction: float,
    seed: int,
    model_max_length: int,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    max_length: int | None = None,
    overlong: Overlong = "drop",
    limit: int | None = None,
    rows: RowKind = "conversations",
    overlap_tokens: int = 1,
    use_cache: bool = True,
    reporter: Reporter = _SILENT,
) -> PreparedData:
    """Read, split and tokenise.

    Args:
        train_files: Files, folders, patterns (or ``demo:`` names) to learn from.
        validation_files: Files held out; where there are none, `fraction` of the training rows is split off.
        template: Renders and tokenises; brings the system prompt.
        fraction: Share of rows to hold out, 0 to 1.
        seed: Decides which rows are held out.
        model_max_length: Most tokens that the model was built for.
        format: A layout's name, or "auto".
        columns: ``{part: column}`` where names differ.
        max_length: Most tokens in an example; None for `model_max_length`.
        overlong: What happens to longer conversations; longer documents are cut into chunks.
        limit: Use only that many first rows, of the training files together and of the validation files together.
        rows: Kind of rows that the objective learns from; files of another kind are refused.
        overlap_tokens: Tokens that a later piece of a document repeats of the one before, as context.
        use_cache: Look for the tokens in the cache, and keep them there.
        reporter: Told what happens.

    Raises:
        DataError: The data cannot be learnt from as they are.
    """
    if not train_files:
        raise DataError("data.train names no file")
    train_files, validation_files = find_files(train_files), find_files(validation_files)
    if max_length is not None and max_length > model_max_length:
        raise DataError(f"data.max_length is {max_length} tokens, the model was built for {model_max_length}; lower it")
    most_tokens = max_length or model_max_length
    if overlap_tokens >= most_tokens:
        raise DataError(
            f"pieces of {most_tokens} tokens cannot repeat {overlap_tokens} tokens of the piece before; lower it"
        )
    reading = _Reading(tuple(train_files), tuple(validation_files), format, columns or {}, limit, rows)
    fitting = _Fitting(most_tokens, overlong, overlap_tokens)
    parts = _key_parts(reading, template, fraction, seed, fitting) if use_cache else {}
    key = cache.cache_key(parts) if use_cache else ""
    if use_cache and (found := _find(key, reporter)):
        entry, items = found._replace(report=replace(found.report, cache_hit=True)), None
    else:
        expected = dict(parts["files"]) if use_cache else None
        entry, items = _read_and_tokenize(
            reading, template, fraction, seed, fitting, reporter, key=key, expected=expected
        )
        if use_cache:
            _keep(key, parts, entry, reporter)
    _say(entry.report, model_max_length, reporter)
    prepared = PreparedData(*entry, reading)
    if items is not None:
        prepared.__dict__["items"] = items  # at hand already: fill the cached property
    return prepared


def _read_and_tokenize(
    reading: _Reading,
    template: Template,
    fraction: float,
    seed: int,
    fitting: _Fitting,
    reporter: Reporter,
    *,
    key: str,
    expected: Mapping[str, str] | None,
) -> tuple[cache.Entry, list[AnyRow]]:
    """What the cache would have held, and all rows."""
    train, validation = reading.read(expected)
    sides = _split(train, validation, fraction, seed)
    items = train.items + validation.items
    tokenized = _tokenize_sides(items, sides, template, fitting, reporter)
    _require_examples(tokenized[0], fitting.most_tokens)
    report = _report(train, validation, sides, tokenized, fitting.most_tokens, key, fraction, template)
    return cache.Entry(tokenized[0].tokens, tokenized[1].tokens, report), items


class _Fitting(NamedTuple):
    """What happens to rows that are too long."""

    most_tokens: int
    overlong: Overlong
    overlap_tokens: int


def _key_parts(reading: _Reading, template: Template, fraction: float, seed: int, fitting: _Fitting) -> dict[str, Any]:
    files = [(str(file), hash_source(file)) for file in (*reading.train_files, *reading.validation_files)]
    return {
        "files": files,
        "num_train_files": len(reading.train_files),
        "format": reading.format,
        "columns": dict(reading.columns),
        "limit": reading.limit,
        "tokenizer": tokenizer_fingerprint(template.tokenizer),
        "template": template.fingerprint,
        "fraction": 0.0 if reading.validation_files else fraction,
        "seed": seed,
        "max_length": fitting.most_tokens,
        "overlong": fitting.overlong,
        "overlap": fitting.overlap_tokens,
        "rows": reading.rows,
    }


def _find(key: str, reporter: Reporter) -> cache.Entry | None:
    try:
        entry = cache.find(key)
    except DataError as error:
        reporter.say(f"Token cache: {error}; the tokens are made again.", "warning")
        return None
    if entry is None:
        reporter.say(f"Token cache: miss ({key}); reading and tokenising.")
        return None
    reporter.say(f"Token cache: hit ({key}), {format_count(entry.train.num_tokens)} training tokens.")
    return entry


def _keep(key: str, parts: Mapping[str, Any], entry: cache.Entry, reporter: Reporter) -> None:
    try:
        cache.keep(key, parts, entry)
    except OSError as error:  # the tokens are in memory: training can go on without a cache
        reporter.say(f"Token cache: not written ({error}); the next run tokenises again.", "warning")


def _split(train: ReadFiles, validation: ReadFiles, fraction: float, seed: int) -> Split:
    """Row numbers of both sides; with files for validation nothing is split off."""
    if not validation.items:
        return split([compared(item) for item in train.items], fraction, seed)
    groups = group_rows([compared(item) for item in train.items + validation.items])
    numbers = list(range(len(groups)))
    return Split(
        numbers[: len(train.items)],
        numbers[len(train.items) :],
        len(np.unique(groups)),
        int(np.bincount(groups).max()),
    )


def _tokenize_sides(
    items: list[AnyRow], sides: Split, template: Template, fitting: _Fitting, reporter: Reporter
) -> list[Tokenized]:
    """Training and validation; what is wrong with either is said together."""
    tokenized: list[Tokenized] = []
    problems: list[str] = []
    for what, rows in (("training rows", sides.train), ("validation rows", sides.validation)):
        try:
            tokenized.append(_tokenize_side([(row, items[row]) for row in rows], template, fitting, reporter, what))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return tokenized


def _tokenize_side(
    rows: Sequence[tuple[int, AnyRow]], template: Template, fitting: _Fitting, reporter: Reporter, what: str
) -> Tokenized:
    most_tokens, overlong, overlap_tokens = fitting
    judged: list[tuple[int, JudgedItem]] = []
    spoken: list[tuple[int, Item]] = []
    for row, item in rows:
        if isinstance(item, Conversation | Document):
            spoken.append((row, item))
        else:
            judged.append((row, item))
    if judged:  # the rows of a side are all of one kind
        return tokenize_answers(
            judged, template, max_length=most_tokens, overlong=overlong, reporter=reporter, what=what
        )
    return tokenize(
        spoken,
        template,
        max_length=most_tokens,
        overlong=overlong,
        reporter=reporter,
        what=what,
        overlap_tokens=overlap_tokens,
    )


def _require_examples(train: Tokenized, most_tokens: int) -> None:
    if len(train.tokens):
        return
    if not train.dropped:
        raise DataError("no training row is left after the split; lower data.validation_fraction or add rows")
    raise DataError(
        f"none of the {len(train.dropped)} training rows fits into {most_tokens} tokens (longest: "
        f"{train.longest_row_tokens}); raise data.max_length or set data.overlong to truncate:\n{list_rows(train.dropped)}"
    )


def _report(
    train: ReadFiles,
    validation: ReadFiles,
    sides: Split,
    tokenized: Sequence[Tokenized],
    most_tokens: int,
    key: str,
    fraction: float,
    template: Template,
) -> DataReport:
    found = [*train.findings, *validation.findings, *look(_RULES_OF_PAIRS, train.items)]
    found += findings.look_at_rows(train.items)  # type: ignore[arg-type]  # its rules look at rows of every kind
    num_rewritten = sum(side.num_rewritten_rows for side in tokenized)
    spoken = [imitated(item) for item in (*train.items, *validation.items)]
    found += findings.look_at_rendering(spoken, template, num_rewritten)
    found += findings.look_at_split(
        [compared(item) for item in train.items],
        [compared(item) for item in validation.items],
        fraction,
        num_train=len(tokenized[0].tokens),
        num_validation=len(tokenized[1].tokens),
        num_dropped=len(tokenized[1].dropped),
    )
    return DataReport(
        files=train.reports,
        validation_files=validation.reports,
        num_rows_read=len(train.items) + len(validation.items),
        num_groups=sides.num_groups,
        largest_group=sides.largest_group,
        max_length=most_tokens,
        train=_side(tokenized[0]),
        validation=_side(tokenized[1]),
        cache_hit=False,
        cache_key=key,
        fingerprint=cache.data_fingerprint(tokenized[0].tokens, tokenized[1].tokens),
        findings=tuple(found),
    )


def _side(tokenized: Tokenized) -> SideReport:
    tokens = tokenized.tokens
    return SideReport(
        num_rows=len(np.unique(tokens.rows)),
        num_examples=len(tokens),
        num_tokens=tokens.num_tokens,
        num_supervised_tokens=tokens.num_targets,
        longest_row_tokens=tokenized.longest_row_tokens,
        max_length=int(tokens.lengths.max(initial=0)),
        median_length=float(np.median(tokens.lengths)) if len(tokens) else 0.0,
        lengths=length_histogram(tokens.lengths),
        dropped=tokenized.dropped,
        num_truncated_rows=tokenized.num_truncated_rows,
        num_lost_answer_tokens=tokenized.num_lost_answer_tokens,
        num_cut_documents=tokenized.num_cut_documents,
        num_rewritten_rows=tokenized.num_rewritten_rows,
    )


def _lost(report: DataReport, lost: int, model_max_length: int) -> str:
    """What the limit cost, and what can be done."""
    rows = report.train.num_truncated_rows + report.validation.num_truncated_rows
    learnt = report.train.num_supervised_tokens + report.validation.num_supervised_tokens
    cut = f"{rows} rows are truncated at {report.max_length} tokens; " if rows else ""
    words = f"{cut}{lost:,} answer tokens ({format_share(lost / (lost + learnt))} of all) are lost."
    longest = max(report.train.longest_row_tokens, report.validation.longest_row_tokens)
    if longest <= model_max_length:
        return f"{words} data.max_length={longest} keeps them all."
    built = f"The model was built for {model_max_length} tokens, the longest row has {longest}"
    return (
        f"{words} {built}: split such rows{'' if rows else ', or keep their beginnings with data.overlong=truncate'}."
    )


def _say(report: DataReport, model_max_length: int, reporter: Reporter) -> None:
    train, validation = report.train, report.validation
    reporter.say(
        f"Data: {train.num_rows} training and {validation.num_rows} validation rows; "
        f"{format_count(train.num_tokens)} training tokens, {format_count(train.num_supervised_tokens)} of them learnt."
    )
    for dropped, side in ((train.dropped, "training"), (validation.dropped, "validation")):
        if dropped:
            reporter.say(
                f"{len(dropped)} {side} {'rows are' if len(dropped) > 1 else 'row is'} dropped:\n{list_rows(dropped)}",
                "warning",
            )
    lost = train.num_lost_answer_tokens + validation.num_lost_answer_tokens
    if lost:
        reporter.say(_lost(report, lost, model_max_length), "warning")
    for finding in report.findings:
        reporter.say(f"{finding.message} {finding.fix}", "info" if finding.severity == "note" else "warning")
