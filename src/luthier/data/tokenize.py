"""Conversations and documents → token ids with the weight that each token has as a target, in flat arrays.

What happens to rows that are too long is decided here and counted here; nothing is cut without appearing in the result.

* A **document** is cut into consecutive pieces. Each later piece begins with the last token of the one before (or with more of
  them, where that is asked for), as context alone, so that every token but the very first is learnt exactly once.
* A **conversation** gives one example, or several where the template rewrites earlier turns (Qwen 3 and R1 drop their
  thinking): each turn is learnt in the form in which it is generated. If one of them is too long, the row is dropped by
  name, truncated from the right (the answer tokens that are lost are counted; a row of which nothing trained is left is
  dropped by name), or refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from luthier.data.example import Example, Part, Segment
from luthier.data.report import DroppedRow, list_rows
from luthier.data.turn_weights import by_weight, has_turn_weights, laid_over
from luthier.errors import DataError
from luthier.reporter import Reporter
from luthier.runs.atomic import sync_folder, write_json
from luthier.types import Conversation, Document, Source

Overlong = Literal["drop", "truncate", "error"]
Item = Conversation | Document

_ARRAYS = {
    "ids": np.int32,
    "weights": np.float32,
    "segment_offsets": np.int64,
    "parents": np.int32,
    "example_offsets": np.int64,
    "rows": np.int64,
    "parts": np.int8,
}
_REPORT_EVERY_ROWS = 200
"""Also how many are tokenised at once: enough to keep all processor cores busy."""


class TokensAndMask(Protocol):
    """What a template returns: token ids, and which of them are learnt."""

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids."""
        ...

    @property
    def trained(self) -> NDArray[np.bool_]:
        """Whether each token is learnt."""
        ...


class Renderer(Protocol):
    """The part of `template.ChatTemplate` that is needed here."""

    def encode_rows(self, rows: Sequence[Item]) -> Sequence[tuple[TokensAndMask, ...] | DataError]:
        """Per row its tokens, or why it is refused.

        A text gives one sequence: its tokens with its start and end tokens. So does a conversation (learnt are the
        assistant's turns with their end-of-turn tokens), unless the template rewrites earlier turns.
        """
        ...


@dataclass(frozen=True, eq=False)
class TokenizedSet:
    """Examples in flat arrays, which may be mapped from disk.

    Attributes:
        ids: Token ids of all segments, end to end, int32.
        weights: Weight of each token as a target, float32.
        segment_offsets: Where segments begin in `ids`, and the end; [segments + 1].
        parents: Per segment the parent's index within its example, or -1.
        example_offsets: Where examples begin among the segments, and the end; [examples + 1].
        rows: Per example the index of its row; the chunks of one document share it, and so do the views of one conversation.
        parts: Per segment what it is among the answers of its row (`example.Part`).
        reference: Per segment the log-probability of its targets under the reference model; not part of what is saved.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    segment_offsets: NDArray[np.int64]
    parents: NDArray[np.int32]
    example_offsets: NDArray[np.int64]
    rows: NDArray[np.int64]
    parts: NDArray[np.int8]
    reference: NDArray[np.float32] | None = None

    @classmethod
    def from_examples(cls, examples: Sequence[Example]) -> TokenizedSet:
        """Lay examples end to end."""
        segments = [segment for example in examples for segment in example.segments]
        return cls(
            ids=np.concatenate([np.zeros(0, np.int32), *[s.ids for s in segments]]).astype(np.int32),
            weights=np.concatenate([np.zeros(0, np.float32), *[s.weights for s in segments]]).astype(np.float32),
            segment_offsets=np.cumsum([0, *[len(s.ids) for s in segments]], dtype=np.int64),
            parents=np.array([s.parent for s in segments], np.int32),
            example_offsets=np.cumsum([0, *[len(e.segments) for e in examples]], dtype=np.int64),
            rows=np.array([e.row for e in examples], np.int64),
            parts=np.array([s.part for s in segments], np.int8),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        index %= len(self)
        first, end = int(self.example_offsets[index]), int(self.example_offsets[index + 1])
        continued = set(self.parents[first:end].tolist())
        segments = []
        for number in range(first, end):
            own = slice(int(self.segment_offsets[number]), int(self.segment_offsets[number + 1]))
            segments.append(
                Segment(
                    self.ids[own],
                    self.weights[own],
                    int(self.parents[number]),
                    row=-1 if number - first in continued else None,
                    part=Part(self.parts[number]),
                    reference=math.nan if self.reference is None else float(self.reference[number]),
                )
            )
        return Example(int(self.rows[index]), tuple(segments))

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each example."""
        return np.diff(self.segment_offsets[self.example_offsets])

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return len(self.ids)

    @cached_property
    def num_targets(self) -> int:
        """Learnt tokens of all examples; answers to other prompts are scored, but not learnt."""
        is_learnt = np.repeat(self.parts != Part.MISMATCHED, np.diff(self.segment_offsets))
        return int(np.count_nonzero(self.weights[is_learnt]))

    @cached_property
    def contexts(self) -> NDArray[np.int64]:
        """Per segment the number of tokens in its ancestors."""
        lengths = np.diff(self.segment_offsets)
        firsts = np.repeat(self.example_offsets[:-1], np.diff(self.example_offsets))
        contexts = np.zeros(len(self.parents), np.int64)
        for number in np.flatnonzero(self.parents >= 0).tolist():  # parents come first
            parent = int(firsts[number] + self.parents[number])
            contexts[number] = contexts[parent] + lengths[parent]
        return contexts

    @cached_property
    def fingerprint(self) -> str:
        """A hash of every array: equal where, and only where, the examples are equal and in the same order."""
        digest = hashlib.blake2b(digest_size=16)
        for name, kind in _ARRAYS.items():
            array = np.ascontiguousarray(getattr(self, name), kind)
            if name == "parts" and not array.any():
                continue  # rows that know no parts keep the names that they had before there were any
            digest.update(f"{name}:{len(array)};".encode())
            digest.update(array.data)
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write the set as one folder of .npy files: whole or not at all; replaces a folder that is there."""
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            for name in _ARRAYS:
                with (aside / f"{name}.npy").open("wb") as file:
                    np.save(file, getattr(self, name))
                    file.flush()
                    os.fsync(file.fileno())
            lengths = {name: len(getattr(self, name)) for name in _ARRAYS}
            write_json(aside / "set.json", {"fingerprint": self.fingerprint, "lengths": lengths})
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync_folder(folder.parent)

    @classmethod
    def load(cls, folder: Path) -> TokenizedSet:
        """Map a saved set from disk; reads it once to compare it with its fingerprint.

        Raises:
            DataError: The folder is not what `save` wrote.
        """
        try:
            described = json.loads((folder / "set.json").read_text())
            # An empty array cannot be mapped.
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r" if described["lengths"][name] else None)
                for name in _ARRAYS
            }
            loaded = cls(**arrays)
            intact = loaded.fingerprint == described["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder} is not a saved token set: {error}") from error
        if not intact:
            raise DataError(
                f"{folder} is damaged: its arrays do not match their fingerprint {described['fingerprint']}"
            )
        return loaded


class Tokenized(NamedTuple):
    """Tokenised rows and what was lost on the way.

    Attributes:
        tokens: The examples, in the order of the rows.
        num_rewritten_rows: Conversations in more than one example, because the template shows earlier turns otherwise.
        dropped: Rows that gave no example, with the reason.
        longest_row_tokens: Of all rows, before anything was dropped or cut.
        num_truncated_rows: Conversations cut at the limit.
        num_lost_answer_tokens: Learnt tokens in what was cut off and in dropped rows.
        num_cut_documents: Documents in more than one chunk.
    """

    tokens: TokenizedSet
    dropped: tuple[DroppedRow, ...]
    longest_row_tokens: int
    num_truncated_rows: int
    num_lost_answer_tokens: int
    num_cut_documents: int
    num_rewritten_rows: int


def tokenize(
    rows: Sequence[tuple[int, Item]],
    template: Renderer,
    *,
    max_length: int,
    overlong: Overlong,
    reporter: Reporter,
    what: str = "rows",
    overlap_tokens: int = 1,
) -> Tokenized:
    """Tokenise numbered rows; `what` they are called in messages ("training rows").

    Args:
        overlap_tokens: Tokens that a later piece of a document repeats of the one before, as context; at least 1.

    Raises:
        DataError: A row that the template refuses, a row with no learnt token, or, with ``overlong="error"``, a longer row.
            All such rows are counted and the first ten are listed.
    """
    fitter = _Fitter(max_length, overlong, overlap_tokens)
    refused: list[DroppedRow] = []
    for start in range(0, len(rows), _REPORT_EVERY_ROWS):
        reporter.progress(f"tokenize {what}", start, len(rows))
        some = rows[start : start + _REPORT_EVERY_ROWS]
        for (row, item), encoded in zip(some, template.encode_rows([item for _, item in some]), strict=True):
            source = _source(row, item)
            if isinstance(encoded, DataError):
                refused.append(DroppedRow(source, str(encoded).removeprefix(f"{source}: ")))
                continue
            views = [with_weights(view) for view in encoded]
            if isinstance(item, Conversation) and has_turn_weights(item):
                views = _weighted_views(template, item)
            if any(view.weights.any() for view in views):
                fitter.add(row, item, [view for view in views if view.weights.any()])
            else:
                masked = f"none of its {len(views[-1].ids)} tokens is learnt (all are masked)"
                refused.append(DroppedRow(source, masked))
    reporter.progress(f"tokenize {what}", len(rows), len(rows))
    if refused:
        raise DataError(f"{len(refused)} of {len(rows)} {what} cannot be learnt from:\n{list_rows(refused)}")
    if overlong == "error" and fitter.dropped:
        raise DataError(
            f"{len(fitter.dropped)} of {len(rows)} {what} are longer than {max_length} tokens (longest: "
            f"{fitter.longest_row_tokens}):\n{list_rows(fitter.dropped)}\n"
            "Raise data.max_length, or set data.overlong to drop or truncate."
        )
    return fitter.result()


class _Fitter:
    """Takes rows one by one, makes those that are too long fit or drops them, and counts what that costs."""

    def __init__(self, max_length: int, overlong: Overlong, overlap_tokens: int) -> None:
        self.max_length = max_length
        self.overlong = overlong
        self.overlap_tokens = overlap_tokens
        self.examples: list[Example] = []
        self.dropped: list[DroppedRow] = []
        self.longest_row_tokens = 0
        self.num_truncated_rows = 0
        self.num_lost_answer_tokens = 0
        self.num_cut_documents = 0
        self.num_rewritten_rows = 0

    def add(self, row: int, item: Item, views: Sequence[Segment]) -> None:
        longest = max(len(view.ids) for view in views)
        self.longest_row_tokens = max(self.longest_row_tokens, longest)
        if longest <= self.max_length:
            self._keep(row, views)
        elif isinstance(item, Document):
            for view in views:
                self.examples += _pieces(row, view, self.max_length, self.overlap_tokens)
            self.num_cut_documents += 1
        elif self.overlong == "truncate":
            self._truncate(row, item, views)
        else:
            self.num_lost_answer_tokens += sum(int(np.count_nonzero(view.weights)) for view in views)
            self._drop(row, item, f"{longest} tokens, the limit is {self.max_length}")

    def _keep(self, row: int, views: Sequence[Segment]) -> None:
        self.examples += [Example(row, (view,)) for view in views]
        self.num_rewritten_rows += len(views) > 1

    def _truncate(self, row: int, item: Item, views: Sequence[Segment]) -> None:
        cut = [Segment(view.ids[: self.max_length], view.weights[: self.max_length]) for view in views]
        kept = [view for view in cut if view.weights.any()]
        learnt = sum(int(np.count_nonzero(view.weights)) for view in views)
        self.num_lost_answer_tokens += learnt - sum(int(np.count_nonzero(view.weights)) for view in kept)
        if kept:
            self.num_truncated_rows += 1
            self._keep(row, kept)
        else:
            longest = max(len(view.ids) for view in views)
            self._drop(row, item, f"{longest} tokens; nothing learnt is within the first {self.max_length}")

    def _drop(self, row: int, item: Item, reason: str) -> None:
        self.dropped.append(DroppedRow(_source(row, item), reason))

    def result(self) -> Tokenized:
        return Tokenized(
            TokenizedSet.from_examples(self.examples),
            tuple(self.dropped),
            self.longest_row_tokens,
            self.num_truncated_rows,
            self.num_lost_answer_tokens,
            self.num_cut_documents,
            self.num_rewritten_rows,
        )


def _weighted_views(template: Renderer, conversation: Conversation) -> list[Segment]:
    views: list[Segment] = []
    for weight, alone in by_weight(conversation):
        (encoded,) = template.encode_rows([alone])
        assert not isinstance(encoded, DataError), "the same row was rendered before"
        views += [with_weights(view, weight) for view in encoded]
    return laid_over(views)


def with_weights(rendered: TokensAndMask, weight: float = 1.0) -> Segment:
    """Tokens as one segment, those that are learnt with `weight`."""
    weights = rendered.trained.astype(np.float32) * np.float32(weight)
    weights[:1] = 0.0  # nothing comes before it that could predict it
    return Segment(rendered.ids.astype(np.int32, copy=False), weights)


def _source(row: int, item: Item) -> Source:
    return item.source or Source("row", row)


def _pieces(row: int, document: Segment, max_length: int, overlap_tokens: int) -> Iterator[Example]:
    ids, weights = document.ids, document.weights
    for start in range(0, len(ids) - overlap_tokens, max_length - overlap_tokens):
        own = weights[start : start + max_length].copy()
        if start:
            own[:overlap_tokens] = 0.0
        yield Example(row, (Segment(ids[start : start + max_length], own),))
