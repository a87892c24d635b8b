"""Rows to train on that an evaluation set has too: equal, nearly equal, or with a long run of words in common.

Questions are compared with questions, answers with answers; running text counts as a question. Words alone count, whatever their
case and punctuation (`data.content`). Of two texts

    equal   all words are the same
    near    the similarity of their word 5-shingles is ≥ 0.8 (as in `data.near_duplicates`)
    run     13 words in a row are the same, wherever they stand; of questions of 8 to 12 words, all of them

Answers of less than 13 words and later questions of less than 8 ("And in French?") are in every set, and are left out.

Runs of 13 words are those of GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C), and so is the exception: what more than 10
rows have in common is boilerplate, a fixed instruction or a schema, and says nothing. Here that holds for rows of either side;
`ContaminatedRows` counts them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.content import normalised
from luthier.data.near_duplicates import MIN_SIMILARITY, SHINGLE_WORDS
from luthier.data.word_runs import Hashes, WordNumbers, run_hashes
from luthier.types import Conversation, Document, LabelledAnswer, Message, PreferencePair, Source

RUN_WORDS = 13
LEAST_RUN_WORDS = 8
LEAST_ANSWER_WORDS = 13
MOST_ROWS = 10
"""What more rows have in common says nothing."""
_COMMON_SHARE, _COMMON_LEAST = 0.05, 20
_QUOTED_WORDS = 20

Row = Conversation | Document | PreferencePair | LabelledAnswer
Kind = Literal["equal", "near", "run"]
Part = Literal["prompt", "answer", "text"]
_ORDER = ("equal", "near", "run")


class Match(NamedTuple):
    """What a row has in common with a row of an evaluation set.

    Attributes:
        kind: How it is like it.
        part: Which part of the row.
        source: Place of the evaluation row.
        measure: Similarity, 0 to 1; of a run, its words.
        quote: The words of a run, or their beginning.
        keys: Stand for what other rows may have in common too: a match counts if at most `MOST_ROWS` rows share one of them.
            Empty where it counts in any case.
    """

    kind: Kind
    part: Part
    source: Source | None
    measure: float
    quote: str
    keys: tuple[int, ...] = ()

    @property
    def words(self) -> str:
        """The match as a clause: "the prompt equals eval.jsonl:3"."""
        place = self.source or "a row of the evaluation set"
        if self.kind == "equal":
            return f"the {self.part} equals {place}"
        if self.kind == "near":
            return f"the {self.part} nearly equals {place} (similarity {self.measure:.2f})"
        return f"the {self.part} shares {self.measure:.0f} words in a row with {place}: '{self.quote}'"


class ContaminationIndex:
    """Takes the rows of evaluation sets, then says what other rows have in common with them. Holds hashes, no texts.

    Args:
        run_words: Length of the runs; None to look at equality and similarity alone.
        min_similarity: From which on two texts are nearly equal.
    """

    def __init__(self, run_words: int | None = RUN_WORDS, min_similarity: float = MIN_SIMILARITY) -> None:
        assert run_words is None or run_words >= SHINGLE_WORDS, run_words
        self._run_words = run_words
        self._min_similarity = min_similarity
        self._numbers = WordNumbers()
        self._sources: list[Source | None] = []
        self._is_answer: list[bool] = []
        self._equal: dict[tuple[bool, int], int] = {}
        self._shingles: list[Hashes] = []
        self._runs: dict[int, tuple[list[Hashes], list[int]]] = {}
        self._beginnings: list[Hashes] = []
        self._lookup: _Lookup | None = None

    def __len__(self) -> int:
        """How many different texts it holds."""
        return len(self._sources)

    def add(self, row: Row) -> None:
        """A row of an evaluation set; its `source` is what matches name."""
        self._lookup = None
        for part, words in _parts(row):
            numbers = self._numbers.of(words)
            is_answer, number = part == "answer", len(self._sources)
            if self._equal.setdefault((is_answer, _whole(numbers)), number) != number:
                continue
            self._sources.append(row.source)
            self._is_answer.append(is_answer)
            self._shingles.append(_shingles(numbers))
            if width := self._width(len(words)):
                hashes, owners = self._runs.setdefault(width, ([], []))
                begun, whole_runs = run_hashes(numbers, (self._least_width, width))
                hashes.append(np.unique(whole_runs))
                owners.append(number)
                self._beginnings.append(begun[: len(whole_runs)])

    def matches(self, row: Row) -> list[Match]:
        """What a row has in common with those added; what says most comes first.

        A match with `keys` may be boilerplate; `ContaminatedRows` tells.
        """
        lookup = self._lookup = self._lookup or self._built()
        found: list[Match] = []
        for part, words in _parts(row):
            numbers = self._numbers.of(words)
            whole = _whole(numbers)
            equal = self._equal.get((part == "answer", whole))
            if equal is not None:
                keys = (whole,) if part == "answer" else ()
                found.append(Match("equal", part, self._sources[equal], 1.0, "", keys))
                continue
            shingles, begun = run_hashes(numbers, (min(SHINGLE_WORDS, len(numbers)), self._least_width))
            if lookup.shingles.has_any(shingles):
                found += self._near(lookup, part, np.unique(shingles))
            if _is_among(begun, lookup.beginnings).any():
                found += self._in_common(lookup, part, words, numbers)
        return sorted(found, key=lambda match: (_ORDER.index(match.kind), -match.measure))

    @property
    def _least_width(self) -> int:
        """Every run begins with so many words: where no such beginning is known, there is no run."""
        return min(self._run_words or RUN_WORDS, LEAST_RUN_WORDS)

    def _width(self, num_words: int) -> int:
        """Length of the runs of a text; 0 where it has none that says something."""
        if self._run_words is None:
            return 0
        return min(self._run_words, num_words) if num_words >= self._least_width else 0

    def _built(self) -> _Lookup:
        most = max(_COMMON_LEAST, int(_COMMON_SHARE * len(self._sources)))
        shingles = _Postings(self._shingles, range(len(self._sources)), most)
        sizes = np.bincount(shingles.owners, minlength=len(self._sources))
        runs = {width: _Postings(*self._runs[width], MOST_ROWS) for width in sorted(self._runs)}
        beginnings = np.unique(np.concatenate([np.zeros(0, np.uint64), *self._beginnings]))
        return _Lookup(shingles, sizes, np.array(self._is_answer, bool), runs, beginnings)

    def _near(self, lookup: _Lookup, part: Part, shingles: Hashes) -> Iterator[Match]:
        """The text most similar to this one, if it is similar enough."""
        own = lookup.shingles.without_common(shingles)
        candidates, common = np.unique(lookup.shingles.owners_of(own), return_counts=True)
        is_like = lookup.is_answer[candidates] == (part == "answer")
        candidates, common = candidates[is_like], common[is_like]
        if len(candidates):
            similarity = common / (len(own) + lookup.sizes[candidates] - common)
            best = int(np.argmax(similarity))
            if similarity[best] >= self._min_similarity:
                number = int(candidates[best])
                keys = (number,) if part == "answer" else ()
                yield Match("near", part, self._sources[number], float(similarity[best]), "", keys)

    def _in_common(self, lookup: _Lookup, part: Part, words: Sequence[str], numbers: Hashes) -> Iterator[Match]:
        """Runs of words that stand in texts of the index, each as long as it goes."""
        for width, hashes in zip(lookup.runs, run_hashes(numbers, tuple(lookup.runs)), strict=True):
            positions = lookup.runs[width].positions(hashes)
            if not len(positions):
                continue
            for piece in np.split(positions, np.flatnonzero(np.diff(positions) > 1) + 1):
                start, end = int(piece[0]), int(piece[-1]) + width
                owner = lookup.runs[width].owners_of(hashes[piece[:1]])[0]
                quote = " ".join(words[start : min(end, start + _QUOTED_WORDS)])
                quote += " …" if end > start + _QUOTED_WORDS else ""
                keys = tuple(hashes[piece].tolist())
                yield Match("run", part, self._sources[owner], end - start, quote, keys)


class ContaminatedRows:
    """Asks an index about rows, one by one, and at the end leaves out what too many of them have in common."""

    def __init__(self, index: ContaminationIndex) -> None:
        self._index = index
        self._matches: dict[int, list[Match]] = {}
        self._num_rows: Counter[int] = Counter()

    def see(self, number: int, row: Row) -> None:
        """A row by its number."""
        matches = self._index.matches(row)
        if not matches:
            return
        self._num_rows.update({key for match in matches for key in match.keys})
        # What is common by now will stay so: not to keep it bounds the memory.
        if kept := self._that_count(matches):
            self._matches[number] = kept

    def found(self) -> dict[int, Match]:
        """For each row that has something in common with the index, by number: what says most."""
        rare = {number: self._that_count(matches) for number, matches in self._matches.items()}
        return {number: matches[0] for number, matches in rare.items() if matches}

    def _that_count(self, matches: Iterable[Match]) -> list[Match]:
        return [m for m in matches if not m.keys or any(self._num_rows[key] <= MOST_ROWS for key in m.keys)]


class _Lookup(NamedTuple):
    """What is worked out once all evaluation rows are there."""

    shingles: _Postings
    sizes: NDArray[np.int64]
    is_answer: NDArray[np.bool_]
    runs: dict[int, _Postings]
    beginnings: Hashes


class _Postings:
    """From a hash to the texts that have it, as flat sorted arrays. What many texts have is left out."""

    def __init__(self, hashes: Sequence[Hashes], texts: Sequence[int], most_texts: int) -> None:
        flat = np.concatenate([np.zeros(0, np.uint64), *hashes])
        owners = np.repeat(np.array(texts, np.int64), [len(own) for own in hashes])
        order = np.argsort(flat, kind="stable")
        values, counts = np.unique(flat, return_counts=True)
        rare = counts <= most_texts
        self._common = values[~rare]
        self._hashes = values[rare]
        self.owners = owners[order][np.repeat(rare, counts)]
        self._ends = np.cumsum(counts[rare])

    def positions(self, hashes: Hashes) -> NDArray[np.int64]:
        """Where in `hashes` those are that some text has."""
        return np.flatnonzero(_is_among(hashes, self._hashes))

    def has_any(self, hashes: Hashes) -> bool:
        """Whether some text has one of them."""
        return bool(_is_among(hashes, self._hashes).any())

    def owners_of(self, hashes: Hashes) -> NDArray[np.int64]:
        """The texts that have them, once for each hash."""
        known = np.searchsorted(self._hashes, hashes[self.positions(hashes)])
        starts = np.where(known > 0, self._ends[known - 1], 0)
        pieces = [self.owners[start:end] for start, end in zip(starts, self._ends[known], strict=True)]
        return np.concatenate([np.zeros(0, np.int64), *pieces])

    def without_common(self, hashes: Hashes) -> Hashes:
        """The hashes but for those that many texts have."""
        return hashes[~np.isin(hashes, self._common)] if len(self._common) else hashes


def _is_among(hashes: Hashes, ordered: Hashes) -> NDArray[np.bool_]:
    """Which of some hashes occur among others, which are sorted."""
    if not len(ordered):
        return np.zeros(len(hashes), bool)
    return ordered[np.minimum(np.searchsorted(ordered, hashes), len(ordered) - 1)] == hashes


def _shingles(numbers: Hashes) -> Hashes:
    (hashes,) = run_hashes(numbers, (min(SHINGLE_WORDS, len(numbers)),))
    return np.unique(hashes)


def _whole(numbers: Hashes) -> int:
    return int.from_bytes(hashlib.blake2b(numbers.tobytes(), digest_size=8).digest(), "little")


def _parts(row: Row) -> Iterator[tuple[Part, list[str]]]:
    """Texts of a row that are compared, as words."""
    if isinstance(row, Document):
        if words := normalised(row.text).split():
            yield "text", words
        return
    if isinstance(row, PreferencePair):
        answers, before = (row.chosen, row.rejected), row.prompt
    elif isinstance(row, LabelledAnswer):
        answers, before = (row.answer,), row.prompt
    else:
        answers, before = (), row.messages
    yield from _of_messages(before)
    for answer in answers:
        yield from _answers(answer)


def _of_messages(messages: Sequence[Message]) -> Iterator[tuple[Part, list[str]]]:
    asked: list[str] = []
    is_first = True
    for message in (*messages, None):
        if message is not None and message.role in ("user", "tool"):
            asked += normalised(message.content).split()
        elif message is None or message.role == "assistant":
            if asked and (is_first or len(asked) >= LEAST_RUN_WORDS):
                yield "prompt", asked
            is_first = is_first and not asked
            asked = []
            if message is not None:
                yield from _answers((message,))


def _answers(messages: Sequence[Message]) -> Iterator[tuple[Part, list[str]]]:
    for message in messages:
        words = normalised(message.content).split()
        if message.role == "assistant" and len(words) >= LEAST_ANSWER_WORDS:
            yield "answer", words
