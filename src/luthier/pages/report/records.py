"""The parts of the report that show records as they are: data, checks, samples, recipe, environment."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.pages.report.chart import Column, histogram
from luthier.pages.report.words import answer_text, number, page_bytes, percent, shortened, text_of
from luthier.runs.folder import RunFolder
from luthier.types import Check
from luthier.units import format_bytes, format_count

SAMPLES_BYTES = 200_000
MOST_LISTED = 20


@dataclass(frozen=True)
class CheckView:
    """One check as a row of the table."""

    stage: str
    name: str
    claim: str
    measured: str
    limit: str
    passed: bool
    advice: str


def show_checks(checks: Sequence[Check]) -> list[CheckView] | None:
    """Failed ones first, else in the order in which they were made; None where there are none."""
    views = [
        CheckView(
            stage=check.name.partition(".")[0],
            name=check.name,
            claim=check.claim,
            measured=_with_unit(check.measured, check.unit),
            limit=_with_unit(check.limit, check.unit),
            passed=check.passed,
            advice=check.advice,
        )
        for check in checks
    ]
    return sorted(views, key=lambda view: view.passed) or None


def _with_unit(value: float | str, unit: str) -> str:
    return f"{text_of(value)} {unit}" if unit and not isinstance(value, str) else text_of(value)


@dataclass(frozen=True)
class SampleView:
    """One prompt answered by the model before and after training."""

    step: str
    prompt: str
    prompt_end: str
    reference: str
    base: str
    base_cut: bool
    tuned: str
    tuned_cut: bool


def read_samples(folder: RunFolder) -> list[SampleView] | None:
    """As many as the page has room for; None where there are none."""
    views: list[SampleView] = []
    room = SAMPLES_BYTES
    for record in folder.read_lines("samples.jsonl"):
        view = SampleView(
            step=number(record["step"]),
            prompt=shortened(record["prompt"], 6000),
            prompt_end=last_lines(record["prompt"]),
            reference=shortened(record["reference"]),
            base=answer_text(record["base"]),
            base_cut=record["base_finish"] == "length",
            tuned=answer_text(record["tuned"]),
            tuned_cut=record["tuned_finish"] == "length",
        )
        room -= page_bytes(view.prompt, view.prompt_end, view.reference, view.base, view.tuned)
        if room < 0:
            break
        views.append(view)
    return views or None


_TURN_MARKER = re.compile(r"<\|[^|<>]*\|>|</?s>|<bos>|<start_of_turn>|<end_of_turn>|\[/?INST\]")


def last_lines(prompt: str, longest: int = 220) -> str:
    """The end of a prompt, where the question is; markers of the chat template stand in the whole prompt below it."""
    lines = [line for line in _TURN_MARKER.sub("\n", prompt).splitlines() if line.strip()]
    while len(lines) > 1 and lines[-1].strip() in ("assistant", "model"):
        lines.pop()
    end = lines[-1].strip() if lines else prompt
    return end if len(end) <= longest else f"…{end[-longest:]}"


@dataclass(frozen=True)
class SideView:
    """Training or validation data: figures (name, value), histogram of lengths, what the limit cost, dropped rows.

    Attributes:
        limit_percent: Where the limit lies in the histogram; None where that is outside of it.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    lengths: tuple[Column, ...]
    limit: str
    limit_percent: float | None
    lost: str
    dropped: tuple[str, ...]
    num_dropped: int


@dataclass(frozen=True)
class DataView:
    """What was learnt from. `findings` are (severity, message, places, fix)."""

    files: tuple[tuple[str, str, str, str], ...]
    sides: tuple[SideView, ...]
    findings: tuple[tuple[str, str, str, str], ...]
    facts: tuple[tuple[str, str], ...]


def read_data(folder: RunFolder) -> DataView | None:
    """None where data.json is absent."""
    record = folder.read_json("data.json")
    if record is None:
        return None
    files = [(f, "training") for f in record["files"]] + [(f, "validation") for f in record["validation_files"]]
    return DataView(
        files=tuple(
            (f["path"], f"{number(f['num_rows'])} rows ({use})", _format_words(f["format"], f["why"]), f["sha256"][:16])
            for f, use in files
        ),
        sides=tuple(
            _side(name, record[key], record["max_length"])
            for name, key in (("Training", "train"), ("Validation", "validation"))
        ),
        findings=tuple(
            (f["severity"], f["message"], _places(f["rows"]), f["fix"]) for f in record["findings"][:MOST_LISTED]
        ),
        facts=(
            ("Rows read", number(record["num_rows_read"])),
            ("Longest row allowed", f"{number(record['max_length'])} tokens"),
            (
                "Groups kept on one side",
                f"{number(record['num_groups'])} (largest: {number(record['largest_group'])} rows)",
            ),
            ("Tokens from the cache", text_of(record["cache_hit"])),
            ("Fingerprint", record["fingerprint"][:16]),
        ),
    )


def _format_words(name: str, why: str) -> str:
    """The reason begins with the name where it was recognised."""
    return why if why.startswith(name) else f"{name}: {why}"


def _side(name: str, side: Mapping[str, Any], max_length: int) -> SideView:
    facts = [
        ("Rows", number(side["num_rows"])),
        ("Tokens", format_count(side["num_tokens"])),
        ("Trained tokens", f"{format_count(side['num_supervised_tokens'])}{_share_of(side)}"),
        ("Median length", f"{number(side['median_length'])} tokens"),
        ("Longest", f"{number(side['max_length'])} tokens"),
    ]
    for key, label in (
        ("num_cut_documents", "Documents cut into chunks"),
        ("num_rewritten_rows", "Conversations in more than one example"),
    ):
        if side[key]:
            facts.append((label, number(side[key])))
    dropped = [f"{_place(d['source'])}: {d['reason']}" for d in side["dropped"]]
    bins = [(f"≤ {most}", count) for most, count in side["lengths"]]
    return SideView(
        name=name,
        facts=tuple(facts),
        lengths=histogram(bins),
        limit=f"limit {number(max_length)}",
        limit_percent=_limit_percent(side["lengths"], max_length),
        lost=_lost(side, max_length),
        dropped=tuple(dropped[:MOST_LISTED]),
        num_dropped=len(dropped),
    )


def _limit_percent(bins: Sequence[tuple[int, int]], max_length: int) -> float | None:
    """Nothing is longer than the limit, so it lies in the last bin or beyond."""
    if not bins or max_length > bins[-1][0]:
        return None
    last, before = bins[-1][0], bins[-2][0] if len(bins) > 1 else 0
    place = (len(bins) - 1 + (max_length - before) / (last - before)) / len(bins)
    return round(100 * place, 2) if max_length > before else None


def _lost(side: Mapping[str, Any], max_length: int) -> str:
    """What did not go into the examples."""
    num_dropped, num_cut, lost_tokens = len(side["dropped"]), side["num_truncated_rows"], side["num_lost_answer_tokens"]
    if not num_dropped and not num_cut and not lost_tokens:
        longest = side["longest_row_tokens"]
        how = "is" if longest <= max_length else "was cut into chunks: it is"
        return f"Nothing is lost: the longest row {how} {number(longest)} tokens long, the limit {number(max_length)}."
    parts = [f"{_rows(num_dropped)} dropped"] if num_dropped else []
    if num_cut:
        parts.append(f"{_rows(num_cut)} cut at {number(max_length)} tokens")
    if lost_tokens:
        share = lost_tokens / (lost_tokens + side["num_supervised_tokens"])
        parts.append(f"{number(lost_tokens)} answer tokens lost ({percent(share, 1)})")
    return f"{', '.join(parts)}. The longest row has {number(side['longest_row_tokens'])} tokens."


def _rows(count: int) -> str:
    return f"{number(count)} {'row' if count == 1 else 'rows'}"


def _share_of(side: Mapping[str, Any]) -> str:
    return f" ({percent(side['num_supervised_tokens'] / side['num_tokens'])})" if side["num_tokens"] else ""


def _place(source: Mapping[str, Any]) -> str:
    return f"{source['file']}:{source['line']}"


def _places(rows: Sequence[Mapping[str, Any]], most: int = 5) -> str:
    named = ", ".join(_place(row) for row in rows[:most])
    return f"{named} and {number(len(rows) - most)} more" if len(rows) > most else named


@dataclass(frozen=True)
class RecipeSectionView:
    """One section of the recipe: (key, value, origin, whether it was chosen rather than left at its default)."""

    name: str
    values: tuple[tuple[str, str, str, bool], ...]


_VALUE = re.compile(r"^  (?P<key>[^:#\s][^:]*): (?P<value>.*?)(?:  # (?P<origin>[^#]*))?$")


def read_recipe(folder: RunFolder) -> list[RecipeSectionView] | None:
    """recipe.resolved.yaml, whose every line is ``key: value  # origin``; None where it is absent."""
    path = folder / "recipe.resolved.yaml"
    if not path.is_file():
        return None
    sections: dict[str, list[tuple[str, str, str, bool]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _VALUE.match(line):
            if not sections:
                raise ValueError(f"the value '{line.strip()}' stands before the first section")
            origin = match["origin"] or ""
            values = sections[next(reversed(sections))]
            values.append((match["key"], match["value"], origin, not origin.startswith("default")))
        elif line and not line.startswith((" ", "#")):
            sections[line.rstrip().rstrip(":")] = []
    return [RecipeSectionView(name, tuple(values)) for name, values in sections.items()]


@dataclass(frozen=True)
class EnvironmentView:
    """Machine, command and versions."""

    facts: tuple[tuple[str, str], ...]
    command: str
    packages: tuple[tuple[str, str], ...]


_ENVIRONMENT_LABELS = {
    "python": "Python",
    "platform": "System",
    "cpu": "Processor",
    "cpu_cores": "Processor cores",
    "memory_bytes": "Memory",
    "device": "Trained on",
}


def read_environment(folder: RunFolder) -> EnvironmentView | None:
    """None where environment.json is absent; entries unknown to this version are shown under their own names."""
    record = folder.read_json("environment.json")
    if record is None:
        return None
    facts = []
    for key, value in record.items():
        if key in ("packages", "command"):
            continue
        shown = format_bytes(value) if key.endswith("_bytes") and value is not None else text_of(value)
        facts.append((_ENVIRONMENT_LABELS.get(key, key.replace("_", " ")), shown))
    command = record.get("command", "")
    return EnvironmentView(
        facts=tuple(facts),
        command=shlex.join(command) if isinstance(command, list) else str(command),
        packages=tuple((name, version or "not installed") for name, version in record.get("packages", {}).items()),
    )
