"""`luthier data check`: read files row by row, ask every rule, and say in words whether the data are worth training on.

Any usual file: conversations, texts, preference pairs, answers with a label, texts with a class. Rows are not kept, so
that files may be larger than memory. Rows that do not fit their layout are a finding, not the end; a file that cannot
be read at all is an error.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from luthier.data.any_rows import RecognisedFile, UnfitRows, read_again, recognise_files
from luthier.data.find_files import find_files
from luthier.data.formats import classified_columns
from luthier.data.lint.catalogue import NotRun, choose_rules, require_rules
from luthier.data.lint.diversity import Diversity, DiversityPass
from luthier.data.lint.row import ClassifiedText, LintItem
from luthier.data.lint.rule import LISTED_ROWS, Given, Look, Places, count_of, shown
from luthier.data.report import list_rows
from luthier.data.row import Row
from luthier.data.sources import read_rows
from luthier.errors import DataError, InputError
from luthier.reporter import Reporter, Silent
from luthier.types import Finding, Severity, Source

if TYPE_CHECKING:
    from luthier.data.contamination import ContaminationIndex
    from luthier.data.template import ChatTemplate

_SILENT = Silent()
_MOST_REASONS = 5
FEW_ROWS = "few_rows"
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
FailOn = Literal["error", "warning", "never"]
KIND_WORDS: dict[str, tuple[str, str]] = {
    "chat": ("conversation", "conversations"),
    "text": ("text", "texts"),
    "preference": ("preference pair", "preference pairs"),
    "kto": ("answer with a label", "answers with a label"),
    "classification": ("text with a class", "texts with a class"),
}


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
        kinds: Rows that fit, by kind (chat, text, preference, kto, classification).
        rules: Names of the rules that were asked.
        not_run: Rules that were not, and why.
        findings: Errors first, then warnings, then notes; in the rules' order within each.
        diversity: What prompts and answers are about; empty where there are too few rows or the rule was not asked.
    """

    files: tuple[CheckedFile, ...]
    num_rows: int
    kinds: Mapping[str, int]
    rules: tuple[str, ...]
    not_run: tuple[NotRun, ...]
    findings: tuple[Finding, ...]
    diversity: tuple[Diversity, ...]

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return not self.fails("error")

    def fails(self, on: FailOn) -> bool:
        """Whether something was found that is as bad as `on`."""
        bad = {"error": ("error",), "warning": ("error", "warning"), "never": ()}[on]
        return any(finding.severity in bad for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each severity."""
        found = Counter(finding.severity for finding in self.findings)
        return {severity: found[severity] for severity in SEVERITIES}

    @property
    def verdict(self) -> str:
        """The result as one paragraph: whether to train on these data, what to repair first, what it costs to leave the rest."""
        errors, warnings = self._named("error"), self._named("warning")
        too_few = any(f.rule == FEW_ROWS and f.severity == "warning" for f in self.findings)
        others = [words for words in warnings if not words.startswith("few rows")]
        sentences = [f"{self._what()}."]
        if errors:
            sentences.append(f"Not fit for training as they are: {_listed(errors)}. Repair these first.")
        if too_few:
            sentences.append("Too few: do not fine-tune yet.")
        if not errors and not too_few:
            sentences.append("Fit for training, at a cost in quality:" if others else "Fit for training.")
        if others:
            cost = f"{_listed(others)}."
            sentences.append(cost if sentences[-1].endswith(":") else f"Also at a cost in quality: {cost}")
        notes = self.counts["note"]
        if notes:
            sentences.append(f"{notes} {'note' if notes == 1 else 'notes'} to decide on.")
        asked = "1 rule was" if len(self.rules) == 1 else f"{len(self.rules)} rules were"
        sentences.append(f"{asked} asked{'' if self.findings else ', nothing to repair'}.")
        return " ".join(sentences)

    @property
    def next_step(self) -> str:
        """The command that repairs most of what was found, or the next one where nothing is to repair."""
        from luthier.data.clean.catalogue import REPAIRS

        name = shlex.quote(self.files[0].path) if len(self.files) == 1 else "IN"
        bad = list(dict.fromkeys(finding.rule for finding in self.findings if finding.severity != "note"))
        if repairs := [rule for rule in bad if rule in REPAIRS]:
            return f"luthier data clean {name} OUT.jsonl {' '.join(f'--rule {rule}' for rule in repairs)}"
        if "contamination" in bad:
            return f"luthier data decontaminate {name} OUT.jsonl --against EVAL"
        if "near_duplicates" in bad:
            return f"luthier data dedup {name} OUT.jsonl"
        if explained := [rule for rule in bad if rule in self.rules]:
            return f"luthier data rules {explained[0]}"
        return f"luthier data inspect {name}"

    def _what(self) -> str:
        kinds = [f"{count:,} {KIND_WORDS[kind][count != 1]}" for kind, count in self.kinds.items()]
        is_simple = len(kinds) == 1 and sum(self.kinds.values()) == self.num_rows
        what = kinds[0] if is_simple else f"{self.num_rows:,} {'row' if self.num_rows == 1 else 'rows'}"
        if kinds and not is_simple:
            what += f" ({_listed(kinds)})"
        return what if len(self.files) == 1 else f"{what} in {len(self.files)} files"

    def _named(self, severity: Severity) -> list[str]:
        """Rules with findings of a severity, in words, with their rows."""
        rows: dict[str, int] = {}
        for f in self.findings:
            if f.severity == severity:
                rows[f.rule] = rows.get(f.rule, 0) + f.num_rows
        return [
            f"{rule.replace('_', ' ')} ({count:,} {'row' if count == 1 else 'rows'})"
            if count
            else rule.replace("_", " ")
            for rule, count in rows.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {
            "passed": self.passed,
            "verdict": self.verdict,
            "num_rows": self.num_rows,
            "kinds": dict(self.kinds),
            "counts": self.counts,
            "files": [asdict(file) for file in self.files],
            "rules": list(self.rules),
            "not_run": [rule._asdict() for rule in self.not_run],
            "findings": [asdict(finding) for finding in self.findings],
            "diversity": [asdict(diversity) for diversity in self.diversity],
            "next_step": self.next_step,
        }


def data_check(
    paths: Sequence[Path | str],
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    rules: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    tokenizer: str | None = None,
    against: Sequence[Path | str] = (),
    reporter: Reporter = _SILENT,
) -> DataCheckResult:
    """Look for what is wrong with data before anything is trained on them.

    Args:
        paths: Data files, folders, patterns, or ``demo:`` names; looked at as one data set.
        format: A layout's name, or "auto".
        columns: ``{part: column}`` where names differ.
        rules: Names from `luthier.data.lint.catalogue.RULES`; None for all.
        skip: Names of rules not to ask.
        tokenizer: A model's name, folder (also of a tokenizer alone) or hub id, for the rules that need one.
        against: Evaluation sets that the data must not hold: files, folders, patterns.
        reporter: Told how far it is.

    Raises:
        InputError: No file, a rule that does not exist, or one that is named and lacks what it needs.
        DataError: A file cannot be read, its columns fit no layout, or it changed while it was read.
        ModelError: There is no such tokenizer.
    """
    if not paths:
        raise InputError("Name at least one data file.")
    require_rules([*(rules or ()), *skip])
    given = Given(_load_template(tokenizer, reporter) if tokenizer else None, _index(against, columns or {}, reporter))
    choice = choose_rules(rules, skip, given)
    reporter.stage("Recognise")
    files = recognise_files(paths, format, columns or {}, reporter)
    looking = Look(choice.rules)
    reading = _Reading()
    for file in files:
        reporter.stage(f"Look at {file.path}")
        reading.read(file, looking, reporter)
    reporter.stage("Compare rows")
    findings = [*reading.findings(looking.places), *looking.findings()]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    diversity = looking.passes.get("diversity")
    asked = [rule for rule in choice.rules if looking.is_asked(rule) or not len(looking.places)]
    unasked = [
        NotRun(rule.name, f"is for {_listed([words[1] for kind, words in KIND_WORDS.items() if kind in rule.kinds])}")
        for rule in choice.rules
        if rule not in asked
    ]
    return DataCheckResult(
        files=tuple(CheckedFile(file.path, file.format, file.why, file.num_rows) for file in files),
        num_rows=sum(file.num_rows for file in files),
        kinds={kind: looking.kinds[kind] for kind in KIND_WORDS if looking.kinds[kind]},
        rules=tuple(rule.name for rule in asked),
        not_run=(*choice.not_run, *unasked),
        findings=tuple(findings),
        diversity=diversity.describe(looking.places) if isinstance(diversity, DiversityPass) else (),
    )


class _Reading:
    """Reads files into a `Look` and remembers what did not fit."""

    def __init__(self) -> None:
        self._unfit: dict[str, list[Source]] = {}
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._unused: list[Finding] = []

    def read(self, file: RecognisedFile, looking: Look, reporter: Reporter) -> None:
        """One file, row by row."""
        first: Source | None = None
        for read in read_again(file, reporter, "look at"):
            first = first or read.row.source
            if read.item is None:
                self._remember(read.row.source, read.reason)
            else:
                looking.see(_classified(read.row) if file.format == "classification" else read.item)
        if file.unused and first is not None:
            unused = ", ".join(file.unused)
            self._unused.append(
                Finding(
                    "columns_not_used",
                    "note",
                    (first,),
                    f"{file.path} was read as {file.format}; not used: {unused}.",
                    "Check that nothing you want to be learnt stands there; map columns with --column part=name.",
                    example=shown(unused),
                )
            )

    def _remember(self, source: Source, reason: str) -> None:
        kind = _PARTICULARS.sub("…", reason)
        if kind not in self._counts and len(self._counts) >= _MOST_REASONS:
            kind = _OTHER_REASONS
        self._counts[kind] += 1
        self._examples.setdefault(kind, reason)
        places = self._unfit.setdefault(kind, [])
        if len(places) < LISTED_ROWS:
            places.append(source)

    def findings(self, places: Places) -> list[Finding]:
        """About layouts: rows that do not fit, by reason, and columns that are not read."""
        total = sum(self._counts.values()) + len(places)
        unfit = [
            Finding(
                "row_does_not_fit",
                "error",
                tuple(self._unfit[kind]),
                f"{count_of(count, total)} do not fit their layout: training would refuse the file.",
                "Correct these rows or remove them from the file.",
                count,
                shown(self._examples[kind], 160),
            )
            for kind, count in self._counts.most_common()
        ]
        return [*unfit, *self._unused]


_PARTICULARS = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")
"""What differs between rows that do not fit for the same reason."""
_OTHER_REASONS = "other reasons"


def _classified(row: Row) -> LintItem:
    columns = classified_columns(row.value)
    assert columns is not None  # `read_again` gave an item
    return ClassifiedText(row.value[columns[0]], str(row.value[columns[1]]), row.source)


def _load_template(name: str, reporter: Reporter) -> ChatTemplate:
    """The chat template with its tokenizer, of a model or of a folder with a tokenizer alone."""
    from luthier.data.template import ChatTemplate
    from luthier.models.load import ModelSource, find_model, load_tokenizer

    reporter.stage(f"Load the tokenizer of {name}")
    path = Path(name).expanduser()
    is_alone = (path / "tokenizer.json").is_file() and not (path / "config.json").is_file()
    source = ModelSource(name, str(path), None) if is_alone else find_model(name, None, reporter)
    return ChatTemplate.from_tokenizer(load_tokenizer(source))


def _index(names: Sequence[Path | str], columns: Mapping[str, str], reporter: Reporter) -> ContaminationIndex | None:
    """The rows of evaluation sets; None where there are none."""
    if not names:
        return None
    from luthier.data.contamination import ContaminationIndex

    index = ContaminationIndex()
    reporter.stage("Read evaluation sets")
    for path in find_files(names):
        file = _recognise_evaluation(path, columns, reporter)
        unfit = UnfitRows()
        for read in read_again(file, reporter, "read"):
            if read.item is None:
                unfit.add(read)
            else:
                index.add(read.item)
        if unfit.count:
            raise DataError(
                f"{unfit.count} of {file.num_rows} rows of the evaluation set {path} do not fit its layout; what they "
                "hold could not "
                f"be looked for:\n{list_rows(unfit.first)}"
            )
    return index


def _recognise_evaluation(path: str, columns: Mapping[str, str], reporter: Reporter) -> RecognisedFile:
    """The layout of an evaluation set: `columns` apply where it has them, for it is often laid out as the data are."""
    if columns:
        first = next(iter(read_rows(path)), None)
        if first is None or not set(columns.values()) <= set(first.value):
            columns = {}
    return recognise_files([path], "auto", columns, reporter)[0]


def _listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
