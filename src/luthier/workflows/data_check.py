"""`luthier data check`: read files row by row, ask every rule, and say in words whether the data are worth training on.

Rows are not kept, so that files may be larger than memory. Rows that do not fit their layout are a finding, not the end; a file
that cannot be read at all is an error.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from luthier.data.find_files import find_files
from luthier.data.formats import convert, recognise
from luthier.data.lint.catalogue import choose_rules
from luthier.data.lint.rule import LISTED_ROWS, Look, Places, count_of, shown
from luthier.data.open_file import kind_of_file
from luthier.data.row import Row
from luthier.data.sources import is_generated, read_rows
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Finding, Severity, Source

_SILENT = Silent()
_RECOGNISED_BY = 1000
_REPORT_EVERY_ROWS = 500
_COUNTED_IN_LINES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
FEW_ROWS = "few rows"
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class CheckedFile:
    """One file: how it was read, and how many rows it has."""

    path: str
    format: str
    why: str
    num_rows: int


@dataclass(frozen=True)
class DataCheckResult:
    """What was found.

    Attributes:
        files: In the order given.
        num_rows: Rows of all files.
        rules: Names of the rules that were asked.
        findings: Errors first, then warnings, then notes; in the rules' order within each.
    """

    files: tuple[CheckedFile, ...]
    num_rows: int
    rules: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each severity."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity: found[severity] for severity in SEVERITIES}

    @property
    def verdict(self) -> str:
        """The result in a sentence or two."""
        rows = f"{self.num_rows:,} {'row' if self.num_rows == 1 else 'rows'}"
        errors, warnings = self._named("error"), self._named("warning")
        if errors:
            return f"Not fit for training as they are ({rows}): {', '.join(errors)}. Repair these first."
        if FEW_ROWS in warnings:
            others = [name for name in warnings if name != FEW_ROWS]
            return f"Too few to train on yet ({rows}){'. Also: ' if others else ''}{', '.join(others)}."
        if warnings:
            return f"Fit for training ({rows}), at a cost in quality: {', '.join(warnings)}."
        asked = "1 rule" if len(self.rules) == 1 else f"{len(self.rules)} rules"
        return f"Fit for training: {rows}, {asked} asked, nothing to repair."

    def _named(self, severity: Severity) -> list[str]:
        """Rules with findings of a severity, in words."""
        return list(dict.fromkeys(f.rule.replace("_", " ") for f in self.findings if f.severity == severity))

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "passed": self.passed,
            "verdict": self.verdict,
            "num_rows": self.num_rows,
            "counts": self.counts,
            "files": [asdict(file) for file in self.files],
            "rules": list(self.rules),
            "findings": [asdict(finding) for finding in self.findings],
        }


def data_check(
    paths: Sequence[Path | str],
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    rules: Sequence[str] | None = None,
    reporter: Reporter = _SILENT,
) -> DataCheckResult:
    """Look for what is wrong with data before anything is trained on them.

    Args:
        paths: Data files, folders, patterns, or ``demo:`` names; looked at as one data set.
        format: A layout's name, or "auto".
        columns: ``{part: column}`` where names differ.
        rules: Names from `luthier.data.lint.catalogue.RULES`; None for all.
        reporter: Told how far it is.

    Raises:
        InputError: No file, or a rule that does not exist.
        DataError: A file cannot be read, its columns fit no layout, or it changed while it was read.
    """
    if not paths:
        raise InputError("Name at least one data file.")
    chosen = choose_rules(rules)
    looking = Look(chosen)
    reading = _Reading(format, columns or {})
    for path in find_files(paths):
        reporter.stage(f"Look at {path}")
        reading.read(path, looking, reporter)
    reporter.stage("Compare rows")
    findings = [*reading.findings(looking.places), *looking.findings()]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return DataCheckResult(
        tuple(reading.files),
        sum(file.num_rows for file in reading.files),
        tuple(rule.name for rule in chosen),
        tuple(findings),
    )


class _Reading:
    """Reads files into a `Look` and remembers what did not fit."""

    def __init__(self, format: str, columns: Mapping[str, str]) -> None:
        self._format, self._columns = format, columns
        self.files: list[CheckedFile] = []
        self._unfit: list[Source] = []
        self._num_unfit = 0
        self._reason = ""
        self._unused: list[Finding] = []

    def read(self, path: Path | str, looking: Look, reporter: Reporter) -> None:
        """One file, row by row."""
        before = _state(path)
        rows = read_rows(path)
        first = list(itertools.islice(rows, _RECOGNISED_BY))
        row_format = recognise(first, self._format, self._columns)
        num_rows = 0
        for row in _with_progress(itertools.chain(first, rows), str(path), reporter):
            num_rows += 1
            converted = convert([row], row_format)
            for item in converted.items:
                looking.see(item)
            for problem in converted.problems:
                self._remember(problem)
        if _state(path) != before:
            raise DataError(f"{path} changed while it was read; wait until whatever writes it is done")
        self.files.append(CheckedFile(str(path), row_format.name, row_format.why, num_rows))
        if row_format.unused:
            unused = ", ".join(row_format.unused)
            self._unused.append(
                Finding(
                    "columns_not_used",
                    "note",
                    (first[0].source,),
                    f"{path} was read as {row_format.name}; not used: {unused}.",
                    "Check that nothing you want to be learnt stands there; map columns with --column part=name.",
                    example=shown(unused),
                )
            )

    def _remember(self, problem: Finding) -> None:
        self._num_unfit += 1
        self._reason = self._reason or problem.message
        if len(self._unfit) < LISTED_ROWS:
            self._unfit.append(problem.rows[0])

    def findings(self, places: Places) -> list[Finding]:
        """About layouts: rows that do not fit, and columns that are not read."""
        if not self._num_unfit:
            return self._unused
        number = count_of(self._num_unfit, self._num_unfit + len(places))
        unfit = Finding(
            "row_does_not_fit",
            "error",
            tuple(self._unfit),
            f"{number} do not fit their layout: training would refuse the file.",
            "Correct these rows or remove them from the file.",
            self._num_unfit,
            shown(self._reason, 160),
        )
        return [unfit, *self._unused]


def _with_progress(rows: Iterator[Row], path: str, reporter: Reporter) -> Iterator[Row]:
    """The rows; progress is counted in lines, because the number of rows is not known before the end."""
    total = _num_lines(path)
    for number, row in enumerate(rows):
        if total and number % _REPORT_EVERY_ROWS == 0:
            reporter.progress("lines", min(row.source.line, total), total)
        yield row
    if total:
        reporter.progress("lines", total, total)


def _num_lines(path: str) -> int:
    """Lines of a plain text file; 0 where that says nothing about the rows."""
    kind = Path(path).suffix.lower()
    if is_generated(path) or kind_of_file(Path(path)) != kind or kind not in _COUNTED_IN_LINES:
        return 0
    with Path(path).open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) + 1


def _state(path: Path | str) -> tuple[int, int] | None:
    """What tells whether a file was written to; None where there is no file (the reader says so better)."""
    if is_generated(path) or not Path(path).is_file():
        return None
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns
