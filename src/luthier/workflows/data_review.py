"""`luthier data review`: a sample of rows for a person to decide on, and the file with what was decided.

The page is `pages.data_review`. Where the file of decisions is there already, the review goes on with its rows; the data must
be what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from luthier.data.any_rows import RecognisedFile, read_again, recognise_files
from luthier.data.formats import classified_columns
from luthier.data.ledger import row_digest
from luthier.data.lint.catalogue import choose_rules
from luthier.data.lint.row import ClassifiedText, LintItem, LintRow
from luthier.data.lint.rule import Rule
from luthier.data.open_file import is_compressed
from luthier.data.review.decisions import DecisionFile, ReviewHead
from luthier.data.review.sample import DOES_NOT_FIT, RowSurvey, SampledRow, judged
from luthier.data.review.session import ReviewRow, ReviewSession, Seen
from luthier.data.row import Row
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent

DEFAULT_ROWS = 80
LEAST_ROWS, MOST_ROWS = 1, 1000
_SILENT = Silent()


def decisions_path(name: str) -> Path:
    """``rows.jsonl`` → ``rows.review.jsonl`` beside it.

    Raises:
        InputError: Several files are named: where their decisions belong is not clear.
    """
    path = Path(name)
    if not path.is_file():
        raise InputError(f"{name} is not one file; say where the decisions are to be kept: --out DECISIONS.jsonl")
    inner = Path(path.stem) if is_compressed(path) else path
    return path.with_name(f"{inner.stem}.review.jsonl")


def data_review(
    names: Sequence[str | Path],
    decisions: Path,
    *,
    num_rows: int | None = None,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    reporter: Reporter = _SILENT,
) -> ReviewSession:
    """Draw a sample, or go on with one.

    Args:
        names: Files, folders, patterns to read; they are never changed.
        decisions: The file of decisions, .jsonl; made where it is not there.
        num_rows: Rows to look at; None for 80, or for those of the review that goes on.
        format: Layout to read; "auto" to recognise it.
        columns: ``{part: column}`` where names differ.
        reporter: Told how far it is.

    Raises:
        InputError: The number of rows makes no sense, or is another than that of the review that goes on.
        DataError: Rows cannot be read, or are not what they were when the review began.
    """
    if num_rows is not None and not LEAST_ROWS <= num_rows <= MOST_ROWS:
        raise InputError(
            f"--rows is {num_rows}; a person looks at {LEAST_ROWS} to {MOST_ROWS} rows, 50 to 100 as a rule."
        )
    reporter.stage("Recognise")
    rules = choose_rules().rules
    if decisions.exists():
        book = DecisionFile.open(decisions)
        if num_rows not in (None, len(book.head.rows)):
            raise InputError(
                f"{decisions} is a review of {len(book.head.rows)} rows that goes on; --rows {num_rows} would be another one. "
                "Leave --rows away, or name another file: --out."
            )
        files = recognise_files(names, book.head.format, book.head.columns, reporter)
    else:
        files = recognise_files(names, format, columns or {}, reporter)
        reporter.stage("Look at all rows")
        survey = RowSurvey(rules)
        for file, row, item, _ in _rows(files, reporter, "look at"):
            survey.see(file, row, item)
        sample = survey.sample(num_rows or DEFAULT_ROWS)
        total = sum(file.num_rows for file in files)
        given = tuple(map(str, names))
        book = DecisionFile.create(
            decisions, ReviewHead(given, format, dict(columns or {}), total, sample.strata, sample.rows)
        )
    return ReviewSession(book, _sampled_rows(files, book, rules, reporter))


def _sampled_rows(
    files: Sequence[RecognisedFile], book: DecisionFile, rules: Sequence[Rule], reporter: Reporter
) -> list[ReviewRow]:
    """The rows of the sample, with what rules say of them."""
    reporter.stage("Fetch the sample")
    wanted = {row.number: row for row in book.head.rows}
    found: dict[int, ReviewRow] = {}
    number = 0
    for number, (file, row, item, reason) in enumerate(_rows(files, reporter, "fetch from"), start=1):
        sampled = wanted.get(number)
        if sampled is not None:
            require_reviewed(row, sampled, book.path)
            found[number] = ReviewRow(sampled, row, file, _findings(item, reason, sampled, rules))
    if number != book.head.num_rows:
        raise DataError(
            f"{book.path} is a review of {book.head.num_rows:,} rows, and there are {number:,} now: the data were changed "
            "since. Review them anew with another --out."
        )
    return [found[row.number] for row in book.head.rows]


def require_reviewed(row: Row, sampled: SampledRow, decisions: Path) -> None:
    """See that a row is the one that was decided on.

    Raises:
        DataError: It is another.
    """
    if row_digest(row.value, row.source)[:8].hex() != sampled.digest:
        raise DataError(
            f"{row.source} is not the row that {decisions} is about (row {sampled.number}): the data were changed since, or are "
            "others. Give the file that was reviewed."
        )


def _rows(
    files: Sequence[RecognisedFile], reporter: Reporter, what: str
) -> Iterator[tuple[RecognisedFile, Row, LintItem | None, str]]:
    for file in files:
        for read in read_again(file, reporter, what):
            item: LintItem | None = read.item
            if item is not None and file.format == "classification":
                text, label = classified_columns(read.row.value) or ("", "")
                item = ClassifiedText(read.row.value[text], str(read.row.value[label]), read.row.source)
            yield file, read.row, item, read.reason


def _findings(item: LintItem | None, reason: str, sampled: SampledRow, rules: Sequence[Rule]) -> tuple[Seen, ...]:
    if item is None:
        return (Seen(DOES_NOT_FIT, "error", reason),)
    alone = [Seen(rule.name, rule.severity, saw) for rule, saw in judged(rules, LintRow(item, sampled.number - 1))]
    named = {seen.rule for seen in alone}
    others = [rule for rule in rules if rule.name in sampled.rules and rule.name not in named]
    return (*alone, *(Seen(rule.name, rule.severity, rule.looks_at) for rule in others))
