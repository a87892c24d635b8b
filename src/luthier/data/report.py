"""What was read, what was used, what was lost and what a person should know: the record that a run keeps of its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from luthier.types import Finding, Source

LISTED_ROWS = 10


@dataclass(frozen=True, slots=True)
class FileReport:
    """One data file.

    Attributes:
        path: As it was named.
        sha256: Of the bytes that were read.
        num_rows: Rows used of it, after `limit`.
        format: Layout recognised.
        why: Reason for the layout, and the columns left unused.
    """

    path: str
    sha256: str
    num_rows: int
    format: str
    why: str


@dataclass(frozen=True, slots=True)
class DroppedRow:
    """A row that is not learnt from."""

    source: Source
    reason: str


class LengthBin(NamedTuple):
    """Examples with more than the previous bin's and at most `most_tokens` tokens."""

    most_tokens: int
    num_examples: int


@dataclass(frozen=True, slots=True)
class SideReport:
    """Training or validation.

    Attributes:
        num_rows: Rows that gave at least one example.
        num_examples: Equal to the rows, but for documents cut into chunks and conversations whose past the template rewrites.
        num_tokens: Tokens of all examples.
        num_supervised_tokens: Learnt tokens of all examples.
        longest_row_tokens: Before anything was dropped or cut.
        max_length: Longest example in tokens.
        median_length: Median example in tokens.
        lengths: Histogram; see `length_bins`.
        dropped: Rows that gave no example.
        num_truncated_rows: Conversations cut at the limit.
        num_lost_answer_tokens: Learnt tokens in what was cut off and in dropped rows.
        num_cut_documents: Documents in more than one chunk (nothing of them is lost).
        num_rewritten_rows: Conversations in more than one example, so that each turn is learnt as it is generated.
    """

    num_rows: int
    num_examples: int
    num_tokens: int
    num_supervised_tokens: int
    longest_row_tokens: int
    max_length: int
    median_length: float
    lengths: tuple[LengthBin, ...]
    dropped: tuple[DroppedRow, ...]
    num_truncated_rows: int
    num_lost_answer_tokens: int
    num_cut_documents: int
    num_rewritten_rows: int


@dataclass(frozen=True, slots=True)
class DataReport:
    """The whole of it.

    Attributes:
        files: Training files.
        validation_files: Files given for validation; empty where validation was split off.
        num_rows_read: Rows of all files.
        num_groups: Groups of rows that must stay on one side.
        largest_group: Rows in the largest of them.
        max_length: Limit in tokens that was applied.
        train: Training side.
        validation: Validation side.
        cache_hit: Whether the tokens came from the cache.
        cache_key: Name of the entry; empty where no cache was used.
        fingerprint: Hash of all tokens of both sides: equal means the same data for training.
        findings: What a person should know.
    """

    files: tuple[FileReport, ...]
    validation_files: tuple[FileReport, ...]
    num_rows_read: int
    num_groups: int
    largest_group: int
    max_length: int
    train: SideReport
    validation: SideReport
    cache_hit: bool
    cache_key: str
    fingerprint: str
    findings: tuple[Finding, ...]

    @property
    def num_rows_used(self) -> int:
        """Rows of both sides that are learnt from or validated on."""
        return self.train.num_rows + self.validation.num_rows

    @property
    def dropped(self) -> tuple[DroppedRow, ...]:
        """Rows of both sides that gave no example."""
        return self.train.dropped + self.validation.dropped

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and lists; bins as [most_tokens, num_examples]."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> DataReport:
        """What `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        files = {key: tuple(FileReport(**f) for f in content[key]) for key in ("files", "validation_files")}
        sides = {key: _side(content[key]) for key in ("train", "validation")}
        findings = tuple(
            Finding(**{**f, "rows": tuple(Source(**source) for source in f["rows"])}) for f in content["findings"]
        )
        return cls(**{**content, **files, **sides, "findings": findings})


def _side(content: Mapping[str, Any]) -> SideReport:
    dropped = tuple(DroppedRow(Source(**d["source"]), d["reason"]) for d in content["dropped"])
    lengths = tuple(LengthBin(*pair) for pair in content["lengths"])
    return SideReport(**{**content, "dropped": dropped, "lengths": lengths})


def list_rows(rows: Sequence[DroppedRow]) -> str:
    """The first ten with place and reason, one a line, and how many more there are."""
    lines = [f"  {row.source}: {row.reason}" for row in rows[:LISTED_ROWS]]
    if len(rows) > LISTED_ROWS:
        lines.append(f"  … and {len(rows) - LISTED_ROWS} more")
    return "\n".join(lines)
