"""Training and validation rows that do not leak into one another.

Rows belong to one *group*, and go to one side, when they are connected by

* an equal prompt: all messages before the last assistant turn, compared without case, punctuation and spacing;
* equal content;
* near-equal content: Jaccard similarity of their word 5-shingles ≥ 0.8 (MinHash, 16 bands of 4, then compared exactly).
  System messages do not count, and neither do shingles that many rows share (a schema, a fixed instruction): two
  questions about one table are not duplicates because they quote the same table. "Many" is more than 5 % of the rows
  (at least 20, at most half of them).

Each group's place is a hash of its content, salted with the seed, so row order does not matter and new rows leave old ones
where they are. The exception is on purpose: with few rows a pure threshold on the hash may hold out nothing, or half, so
groups next to the threshold move until the held-out rows are between half and one and a half of what was asked for, and at
least one. In sets of a thousand rows and more that limit practically never binds.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.types import Conversation, Document

SHINGLE_WORDS = 5
MIN_SIMILARITY = 0.8
_NUM_BANDS, _ROWS_PER_BAND = 16, 4
_COMMON_SHARE, _COMMON_MIN_ROWS = 0.05, 20
_MAX_COMPARED = 50
# Han and kana are written without spaces: each sign is a word of its own.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]+")
_LETTERS = re.compile(r"\w")

Item = Conversation | Document


class Split(NamedTuple):
    """Row indices of both sides, ascending, and how the rows cling together."""

    train: list[int]
    validation: list[int]
    num_groups: int
    largest_group: int


def split(conversations: Sequence[Item], fraction: float, seed: int) -> Split:
    """Hold out about `fraction` of the rows, whole groups at a time.

    With one group only, nothing can be held out without a leak: `validation` is empty. At least one row stays for training.
    """
    groups = group_rows(conversations)
    num_groups = int(groups.max()) + 1 if len(groups) else 0
    sizes = np.bincount(groups, minlength=num_groups)
    largest = int(sizes.max()) if num_groups else 0
    places = _group_places(conversations, groups, num_groups, seed)
    held_out = _hold_out(places, sizes, fraction)
    train = [row for row, group in enumerate(groups) if not held_out[group]]
    validation = [row for row, group in enumerate(groups) if held_out[group]]
    return Split(train, validation, num_groups, largest)


def group_rows(items: Sequence[Item]) -> NDArray[np.int64]:
    """A group number for each row, counted from 0; rows of one group must not be separated."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not items:
        return np.zeros(0, np.int64)
    edges = [*_equal_pairs([prompt_key(item) for item in items]), *_equal_pairs([content_key(item) for item in items])]
    edges += _near_duplicates([_content(item) for item in items])
    left, right = np.array(edges, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(items), len(items)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def prompt_key(item: Item) -> str:
    """What the last assistant turn answers, normalised and with roles; for texts without a question, the content."""
    if isinstance(item, Document):
        return content_key(item)
    last = max((i for i, m in enumerate(item.messages) if m.role == "assistant"), default=len(item.messages))
    before = item.messages[:last]
    if all(m.role == "system" for m in before):
        return content_key(item)
    return "\n".join(f"{m.role}: {_normalised(m.content)} {m.tool_calls or ''}" for m in before)


def content_key(item: Item) -> str:
    """The whole row, normalised and with roles."""
    if isinstance(item, Document):
        return _normalised(item.text)
    return "\n".join(f"{m.role}: {_normalised(m.content)} {m.tool_calls or ''}" for m in item.messages)


def _content(item: Item) -> str:
    if isinstance(item, Document):
        return item.text
    return "\n".join(m.content for m in item.messages if m.role != "system")


def _normalised(text: str) -> str:
    """Words alone, lower case; a text without a single word (``<=``) keeps its signs, so that it stays distinct."""
    words = _WORD.findall(text.lower())
    return " ".join([w for w in words if _LETTERS.match(w)] or words)


def _equal_pairs(keys: Sequence[str]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for index, key in enumerate(keys):
        other = first.setdefault(key, index)
        if other != index:
            yield other, index


# --- near duplicates ----------------------------------------------------------------------------------------------


def _near_duplicates(texts: Sequence[str]) -> list[tuple[int, int]]:
    numbers_of_words: dict[str, int] = {}
    shingles = _distinctive([_shingles(text, numbers_of_words) for text in texts])
    rows = [index for index, own in enumerate(shingles) if len(own)]
    if len(rows) < 2:
        return []
    # Order must not matter, and only _MAX_COMPARED rows of a bucket are compared: go through rows by content.
    rows.sort(key=lambda index: shingles[index].tobytes())
    signatures = _signatures([shingles[index] for index in rows])
    pairs: set[tuple[int, int]] = set()
    for band in range(_NUM_BANDS):
        columns = signatures[:, band * _ROWS_PER_BAND : (band + 1) * _ROWS_PER_BAND]
        buckets: dict[bytes, list[int]] = {}
        for position, row in enumerate(rows):
            buckets.setdefault(columns[position].tobytes(), []).append(row)
        for bucket in buckets.values():
            _compare(bucket, shingles, pairs)
    return list(pairs)


def _compare(bucket: list[int], shingles: Sequence[NDArray[np.uint64]], pairs: set[tuple[int, int]]) -> None:
    """Add the pairs of a bucket that are truly similar: each row against the representatives found so far."""
    representatives: list[int] = []
    for row in bucket:
        similar = None
        for other in representatives[:_MAX_COMPARED]:
            if (other, row) in pairs or _jaccard(shingles[other], shingles[row]) >= MIN_SIMILARITY:
                similar = other
                break
        if similar is None:
            representatives.append(row)
        else:
            pairs.add((similar, row))


def _jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    if min(len(a), len(b)) < MIN_SIMILARITY * max(len(a), len(b)):
        return 0.0
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


def _shingles(text: str, numbers_of_words: dict[str, int]) -> NDArray[np.uint64]:
    """Sorted, distinct hashes of all runs of 5 words (of the whole text where it is shorter)."""
    words = _normalised(text).split()
    if not words:
        return np.zeros(0, np.uint64)
    for word in words:
        if word not in numbers_of_words:
            numbers_of_words[word] = _word_number(word)
    numbers = np.array([numbers_of_words[word] for word in words], np.uint64)
    width = min(SHINGLE_WORDS, len(words))
    hashes = np.zeros(len(words) - width + 1, np.uint64)
    for offset in range(width):
        hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + numbers[offset : offset + len(hashes)]
    return np.unique(hashes ^ (hashes >> np.uint64(29)))


def _word_number(word: str) -> int:
    """64 bits that depend on the word alone, so that groups do not depend on the order of rows or on the process."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _distinctive(shingles: list[NDArray[np.uint64]]) -> list[NDArray[np.uint64]]:
    """Without the shingles that many rows share."""
    num_rows = len(shingles)
    most = min(max(_COMMON_MIN_ROWS, int(_COMMON_SHARE * num_rows)), max(2, num_rows // 2))
    values, counts = np.unique(np.concatenate([np.zeros(0, np.uint64), *shingles]), return_counts=True)
    common = values[counts > most]
    if not len(common):
        return shingles
    return [np.setdiff1d(own, common, assume_unique=True) for own in shingles]


def _signatures(shingles: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """MinHash: for each of 64 random hash functions the smallest value among a row's shingles; [rows, 64]."""
    generator = np.random.default_rng(0)
    num_hashes = _NUM_BANDS * _ROWS_PER_BAND
    factors = generator.integers(1, 2**63, num_hashes, np.uint64) | np.uint64(1)
    offsets = generator.integers(0, 2**63, num_hashes, np.uint64)
    flat = np.concatenate(shingles)
    starts = np.cumsum([0, *[len(own) for own in shingles[:-1]]])
    signatures = np.empty((len(shingles), num_hashes), np.uint64)
    for index in range(num_hashes):
        # Low bits of a product mod 2^64 are weak: order by the high half.
        signatures[:, index] = np.minimum.reduceat((flat * factors[index] + offsets[index]) >> np.uint64(20), starts)
    return signatures


# --- which side ---------------------------------------------------------------------------------------------------


def _group_places(items: Sequence[Item], groups: NDArray[np.int64], num_groups: int, seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) per group: the smallest hash among its rows' prompts."""
    places = np.ones(num_groups)
    salt = str(seed).encode()
    for item, group in zip(items, groups, strict=True):
        digest = hashlib.blake2b(prompt_key(item).encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest()
        places[group] = min(places[group], int.from_bytes(digest, "big") / 2**64)
    return places


def _hold_out(places: NDArray[np.float64], sizes: NDArray[np.int64], fraction: float) -> NDArray[np.bool_]:
    """Which groups are held out: those below `fraction`, in the order of their places, within the limits on rows."""
    held_out = np.zeros(len(places), bool)
    num_rows = int(sizes.sum())
    if fraction <= 0 or len(places) < 2:
        return held_out
    fewest = max(1, math.ceil(0.5 * fraction * num_rows))
    most = min(num_rows - 1, max(1, math.floor(1.5 * fraction * num_rows)))
    num_held_out = 0
    for group in np.argsort(places, kind="stable"):
        wanted = places[group] < fraction or num_held_out < fewest
        if wanted and num_held_out + sizes[group] <= most:
            held_out[group] = True
            num_held_out += int(sizes[group])
    if not num_held_out:  # every group is larger than the limit: the smallest is the least bad
        held_out[min(range(len(places)), key=lambda group: (sizes[group], places[group]))] = True
    return held_out
