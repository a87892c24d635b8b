"""Texts that are nearly equal, among many: MinHash finds candidates, their shingles decide.

Two texts are near duplicates when the Jaccard similarity of their word 5-shingles is ≥ 0.8. Shingles that many texts share (a
schema, a fixed instruction) do not count: two questions about one table are not duplicates because they quote the same table.
"Many" is more than 5 % of the texts (at least 20, at most half of them).

Signatures have 16 bands of 4 hashes: of pairs at 0.8, 99.98 % share a band. What is kept is compact, so that a million texts of
500 characters fit into about half a GiB: shingles as 32-bit hashes in flat blocks, 128 bytes of band keys per text.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.word_runs import MIX, WordNumbers, run_hashes

SHINGLE_WORDS = 5
MIN_SIMILARITY = 0.8
_NUM_BANDS, _ROWS_PER_BAND = 16, 4
_COMMON_SHARE, _COMMON_MIN_TEXTS = 0.05, 20
_MAX_COMPARED = 50
_BLOCK_WORDS = 500_000
"""Words that are hashed at once: a few large operations are several times faster than some for each text."""
_COUNTED_AT_ONCE = 8_000_000

Shingles = NDArray[np.uint32]


def near_duplicate_pairs(texts: Iterable[str]) -> list[tuple[int, int]]:
    """Index pairs of near duplicates; enough of them to connect what belongs together.

    Args:
        texts: Normalised: words separated by single spaces.
    """
    store = ShingleStore()
    for text in texts:
        store.add(text)
    return store.near_duplicate_pairs()


class _Block(NamedTuple):
    """Shingles of consecutive texts: those of the i-th are ``hashes[starts[i] : starts[i + 1]]``, sorted and distinct."""

    hashes: Shingles
    starts: NDArray[np.int64]


class ShingleStore:
    """Takes texts one by one and compares them at the end."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._waiting: list[list[str]] = []
        self._num_waiting_words = 0
        self._numbers = WordNumbers()

    def add(self, text: str) -> None:
        """The next text, normalised."""
        words = text.split()
        self._waiting.append(words)
        self._num_waiting_words += len(words)
        if self._num_waiting_words >= _BLOCK_WORDS:
            self._close_block()

    def near_duplicate_pairs(self, min_similarity: float = MIN_SIMILARITY) -> list[tuple[int, int]]:
        """Pairs of positions in the order of `add`. The store is used up by this.

        Below 0.7 the bands no longer find all pairs.
        """
        self._close_block()
        self._blocks = _without_common(self._blocks)
        texts = _Texts(self._blocks)
        if len(texts.present) < 2:
            return []
        keys = np.concatenate([_band_keys(block) for block in self._blocks])
        # The order of texts must not matter, and only _MAX_COMPARED of a bucket are compared: go through them by content.
        order = np.argsort(np.concatenate([_content_hashes(block) for block in self._blocks]), kind="stable")
        pairs: set[tuple[int, int]] = set()
        for band in range(_NUM_BANDS):
            for bucket in _buckets(keys[order, band]):
                _compare(texts.present[order[bucket]].tolist(), texts, pairs, min_similarity)
        return list(pairs)

    def _close_block(self) -> None:
        if self._waiting:
            self._blocks.append(_shingles(self._waiting, self._numbers))
            self._waiting, self._num_waiting_words = [], 0


def _shingles(texts: list[list[str]], numbers: WordNumbers) -> _Block:
    """Distinct hashes of all runs of 5 words (of the whole text where it is shorter)."""
    words = numbers.of([word for text in texts for word in text])
    lengths = np.array([len(text) for text in texts], np.int64)
    owners = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    (hashes,) = run_hashes(words, (SHINGLE_WORDS,))
    begun = owners[: len(hashes)]
    within = begun == owners[len(owners) - len(hashes) :]  # a run that goes on into the next text is none
    keys = [(begun[within] << np.uint64(32)) | (hashes[within] >> np.uint64(32))]
    firsts = np.cumsum(lengths) - lengths
    for text in np.flatnonzero((lengths > 0) & (lengths < SHINGLE_WORDS)):
        own = words[firsts[text] : firsts[text] + lengths[text]]
        (whole,) = run_hashes(own, (int(lengths[text]),))
        keys.append((np.uint64(text) << np.uint64(32)) | (whole >> np.uint64(32)))
    distinct = np.concatenate(keys)
    distinct.sort()  # ten times as fast as np.unique, which hashes
    distinct = distinct[np.diff(distinct, prepend=~distinct[:1]) != 0]
    counts = np.bincount((distinct >> np.uint64(32)).astype(np.int64), minlength=len(texts))
    return _Block(distinct.astype(np.uint32), np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))


class _Texts:
    """Looks up the shingles of a text; `present` are those that have any."""

    def __init__(self, blocks: list[_Block]) -> None:
        self._blocks = blocks
        self._firsts = np.cumsum([0, *[len(block.starts) - 1 for block in blocks]])
        present = [first + _present(block) for first, block in zip(self._firsts, blocks, strict=False)]
        self.present = np.concatenate([np.zeros(0, np.int64), *present])

    def __getitem__(self, text: int) -> Shingles:
        which = int(np.searchsorted(self._firsts, text, side="right")) - 1
        hashes, starts = self._blocks[which]
        own = text - int(self._firsts[which])
        return hashes[starts[own] : starts[own + 1]]


def _without_common(blocks: list[_Block]) -> list[_Block]:
    num_texts = sum(len(block.starts) - 1 for block in blocks)
    most = min(max(_COMMON_MIN_TEXTS, int(_COMMON_SHARE * num_texts)), max(2, num_texts // 2))
    common = np.concatenate([np.zeros(0, np.uint32), *_more_often(blocks, most)])
    if not len(common):
        return blocks
    lighter: list[_Block] = []
    for hashes, starts in blocks:
        kept = ~np.isin(hashes, common)
        lighter.append(_Block(hashes[kept], np.concatenate([[0], np.cumsum(kept)])[starts]))
    return lighter


def _more_often(blocks: list[_Block], most: int) -> Iterator[Shingles]:
    """Shingles of more than `most` texts, counted by ranges of their value: memory stays bounded."""
    num_ranges = 1 + sum(len(block.hashes) for block in blocks) // _COUNTED_AT_ONCE
    edges = np.linspace(0, 2**32, num_ranges + 1).astype(np.uint64)
    for low, high in itertools.pairwise(edges):
        within = [block.hashes[(block.hashes >= low) & (block.hashes < high)] for block in blocks]
        values, counts = np.unique(np.concatenate([np.zeros(0, np.uint32), *within]), return_counts=True)
        yield values[counts > most]


def _present(block: _Block) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(block.starts))


def _minima(block: _Block, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Smallest value of each text that has shingles."""
    return np.minimum.reduceat(values, block.starts[:-1][_present(block)])


def _band_keys(block: _Block) -> NDArray[np.uint64]:
    """MinHash with 64 random hash functions, the four minima of each band in one number; [texts that have shingles, 16]."""
    keys = np.zeros((len(_present(block)), _NUM_BANDS), np.uint64)
    if not len(keys):
        return keys
    generator = np.random.default_rng(0)
    num_hashes = _NUM_BANDS * _ROWS_PER_BAND
    factors = generator.integers(1, 2**63, num_hashes, np.uint64) | np.uint64(1)
    offsets = generator.integers(0, 2**63, num_hashes, np.uint64)
    values = block.hashes.astype(np.uint64)
    for index in range(num_hashes):
        # Low bits of a product mod 2^64 are weak: order by the high half.
        minima = _minima(block, (values * factors[index] + offsets[index]) >> np.uint64(20))
        keys[:, index // _ROWS_PER_BAND] = keys[:, index // _ROWS_PER_BAND] * MIX + minima
    return keys


def _content_hashes(block: _Block) -> NDArray[np.uint64]:
    values = block.hashes.astype(np.uint64) * MIX
    starts = block.starts[:-1][_present(block)]
    return np.add.reduceat(values ^ (values >> np.uint64(31)), starts) if len(starts) else np.zeros(0, np.uint64)


def _buckets(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Positions with equal keys, ascending, where there are several."""
    by_key = np.argsort(keys, kind="stable")
    ends = np.flatnonzero(np.diff(keys[by_key], append=keys[by_key][-1:] + np.uint64(1))) + 1
    starts = np.concatenate([[0], ends[:-1]])
    for index in np.flatnonzero(ends - starts > 1):
        yield by_key[starts[index] : ends[index]]


def _compare(bucket: list[int], texts: _Texts, pairs: set[tuple[int, int]], min_similarity: float) -> None:
    """Add the pairs of a bucket that are truly similar: each text against the representatives found so far."""
    representatives: list[int] = []
    for text in bucket:
        similar = None
        for other in representatives[:_MAX_COMPARED]:
            if (other, text) in pairs or _jaccard(texts[other], texts[text], min_similarity) >= min_similarity:
                similar = other
                break
        if similar is None:
            representatives.append(text)
        else:
            pairs.add((similar, text))


def _jaccard(a: Shingles, b: Shingles, min_similarity: float) -> float:
    """Similarity; 0 where the lengths alone say that it is less than needed."""
    if min(len(a), len(b)) < min_similarity * max(len(a), len(b)):
        return 0.0
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)
