"""Groups of texts about like things, found without a model: words weighed by rarity, their common directions, k-means.

    texts → term weights (1 + ln tf) · ln(n / df), unit length            [n, terms]     TF-IDF (Salton & Buckley 1988)
          → the strongest directions by randomised SVD, unit length       [n, 48]        (Halko, Martinsson & Tropp 2011)
          → k-means on the sphere, begun by k-means++, best of 4          [n]            (Arthur & Vassilvitskii 2007)

The number of groups is the one of `_TRIED` whose groups lie furthest apart (simplified silhouette). Everything is
deterministic for texts in a given order. Made for a sample of up to a few thousand texts: the weights are one dense
matrix.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[^\W\d_{_UNSPACED}]{{2,}}")
_UNSPACED_PAIR = re.compile(rf"(?=([{_UNSPACED}]{{2}}))")
"""Scripts without spaces: two signs in a row are the nearest thing to a word."""
_MOST_CHARACTERS = 3000
_MOST_TERMS = 6000
_LEAST_TEXTS_WITH_TERM = 2
_MOST_SHARE_WITH_TERM = 0.25
_NUM_DIRECTIONS = 48
_TRIED = (4, 8, 12, 16, 20)
_LEAST_MEAN_SIZE = 10
_STARTS = 4
_MOST_ROUNDS = 40
_NUM_WORDS = 5
_SHORT_WORD = 3
_LIKE = 0.2
"""Cosine from which on two texts are about a like thing."""
_FEW_LIKE, _MANY_LIKE = 3, 10
_MOST_EDGE_SHARE = 0.05


@dataclass(frozen=True)
class Cluster:
    """Texts that are alike.

    Attributes:
        size: How many.
        words: The terms by which it differs most from the rest.
        members: Indices of the texts, the most typical first.
        cohesion: Mean cosine of its texts to their centre, 0 to 1.
    """

    size: int
    words: tuple[str, ...]
    members: tuple[int, ...]
    cohesion: float


@dataclass(frozen=True)
class Clusters:
    """Groups of texts, the largest first.

    Attributes:
        groups: Of all texts that have words in common with others; none where hardly any have.
        edge: Indices of texts that have hardly a like (`_FEW_LIKE`), where most texts have many; none where most have few.
        edge_words: The terms by which those differ most from the rest.
        effective: How many wholly different texts would be as diverse: exp of the entropy of the eigenvalues of the texts'
            similarities (Vendi score, Friedman & Dieng 2023).
    """

    groups: tuple[Cluster, ...]
    edge: tuple[int, ...]
    edge_words: tuple[str, ...]
    effective: float


def cluster_texts(texts: Sequence[str]) -> Clusters:
    """Group texts.

    Args:
        texts: In an order of which nothing depends but ties.
    """
    weights, terms = term_weights(texts)
    present = np.flatnonzero(weights.any(axis=1))
    if len(present) < _TRIED[0]:
        return Clusters((), (), (), float(len(texts)))
    weights = weights[present]
    similarity = weights @ weights.T
    edge = edge_cases(similarity)
    places = directions(weights, _NUM_DIRECTIONS)
    tried = [k for k in _TRIED if k * _LEAST_MEAN_SIZE <= len(present)] or [min(_TRIED[0], len(present))]
    candidates = [spherical_k_means(places, k) for k in tried]
    labels, centres = max(candidates, key=lambda candidate: separation(places, *candidate))
    groups = [
        _cluster(label, labels, centres, places, weights, terms, present)
        for label in range(len(centres))
        if (labels == label).any()
    ]
    groups.sort(key=lambda group: (-group.size, group.words))
    words = _leading_words(weights, np.isin(np.arange(len(weights)), edge), terms) if len(edge) else ()
    return Clusters(tuple(groups), tuple(map(int, present[edge])), words, effective_number(similarity))


def term_weights(texts: Sequence[str]) -> tuple[Floats, list[str]]:
    """TF-IDF of each text, of unit length or zero, and the terms.

    Words of a single text are left out, and words of very many, unless that leaves most texts without any (a few templates).
    """
    counts = [Counter(_terms(text[:_MOST_CHARACTERS].lower())) for text in texts]
    num_texts = Counter(term for count in counts for term in count)
    repeated = sorted(
        (t for t, n in num_texts.items() if n >= _LEAST_TEXTS_WITH_TERM), key=lambda t: (-num_texts[t], t)
    )
    most = max(_MOST_SHARE_WITH_TERM * len(texts), _LEAST_TEXTS_WITH_TERM)
    rarer = {term for term in repeated if num_texts[term] <= most}
    if 2 * sum(rarer.isdisjoint(count) for count in counts) <= len(texts):
        repeated = [term for term in repeated if term in rarer]
    terms = repeated[:_MOST_TERMS]
    column = {term: i for i, term in enumerate(terms)}
    weights = np.zeros((len(texts), len(terms)), np.float32)
    for row, count in enumerate(counts):
        for term, times in count.items():
            if (place := column.get(term)) is not None:
                weights[row, place] = (1 + math.log(times)) * math.log(len(texts) / num_texts[term])
    return _unit(weights), terms


def directions(weights: Floats, num: int) -> Floats:
    """Coordinates along the `num` strongest directions, of unit length; [texts, num]."""
    num = min(num, *weights.shape)
    generator = np.random.default_rng(0)
    sketch = weights @ generator.standard_normal((weights.shape[1], num + 8)).astype(np.float32)
    for _ in range(3):  # power iterations: the spectrum of texts falls slowly
        sketch, _ = np.linalg.qr(weights @ (weights.T @ sketch))
    u, s, _ = np.linalg.svd(sketch.T @ weights, full_matrices=False)
    return _unit((sketch @ u[:, :num] * s[:num]).astype(np.float32))


def spherical_k_means(places: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Labels and unit centres; the best of several starts by mean cosine."""
    generator = np.random.default_rng(k)
    best: tuple[float, NDArray[np.int64], Floats] | None = None
    for _ in range(_STARTS):
        centres = _begin(places, k, generator)
        labels = np.full(len(places), -1)
        for _ in range(_MOST_ROUNDS):
            similarity = places @ centres.T
            new = similarity.argmax(axis=1)
            if (new == labels).all():
                break
            labels = new
            sums = np.zeros_like(centres)
            np.add.at(sums, labels, places)
            filled = sums.any(axis=1)
            centres[filled] = _unit(sums[filled])
        quality = float((places @ centres.T).max(axis=1).mean())
        if best is None or quality > best[0] + 1e-6:
            best = (quality, labels, centres)
    assert best is not None
    return best[1], best[2]


def separation(places: Floats, labels: NDArray[np.int64], centres: Floats) -> float:
    """Simplified silhouette (Hruschka et al. 2004): how much nearer the own centre is than the next; −1 to 1."""
    distance = 1 - places @ centres.T
    rows = np.arange(len(places))
    own = distance[rows, labels]
    distance[rows, labels] = np.inf
    other = distance.min(axis=1)
    return float(((other - own) / np.maximum(np.maximum(other, own), 1e-9)).mean())


def edge_cases(similarity: Floats) -> NDArray[np.int64]:
    """Texts with fewer than `_FEW_LIKE` like them, where the median text has `_MANY_LIKE`."""
    num_like = (similarity >= _LIKE).sum(axis=1) - 1
    few = np.flatnonzero(num_like < _FEW_LIKE)
    is_uniform = np.median(num_like) >= _MANY_LIKE and len(few) <= _MOST_EDGE_SHARE * len(similarity)
    return few if is_uniform else few[:0]


def effective_number(similarity: Floats) -> float:
    """Vendi score from the cosines of all texts with one another."""
    values = np.linalg.eigvalsh(similarity.astype(np.float64) / len(similarity))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def _begin(places: Floats, k: int, generator: np.random.Generator) -> Floats:
    """k-means++: each next centre far from those before, by chance."""
    chosen = [int(generator.integers(len(places)))]
    distance = 1 - places @ places[chosen[0]]
    for _ in range(1, k):
        odds = np.maximum(distance, 0).astype(np.float64)
        total = odds.sum()
        chosen.append(int(generator.choice(len(places), p=odds / total)) if total > 0 else chosen[0])
        distance = np.minimum(distance, 1 - places @ places[chosen[-1]])
    return places[chosen].copy()


def _cluster(
    label: int,
    labels: NDArray[np.int64],
    centres: Floats,
    places: Floats,
    weights: Floats,
    terms: Sequence[str],
    present: NDArray[np.int64],
) -> Cluster:
    inside = labels == label
    nearness = places[inside] @ centres[label]
    members = present[inside][np.argsort(-nearness, kind="stable")]
    words = _leading_words(weights, inside, terms)
    return Cluster(int(inside.sum()), words, tuple(map(int, members)), float(nearness.mean()))


def _leading_words(weights: Floats, inside: NDArray[np.bool_], terms: Sequence[str]) -> tuple[str, ...]:
    lead = weights[inside].mean(axis=0) - (weights[~inside].mean(axis=0) if (~inside).any() else 0)
    order: list[int] = np.argsort(-lead, kind="stable")[: 3 * _NUM_WORDS].tolist()
    leading = [terms[i] for i in order if lead[i] > 0]
    # Short words mostly say how something is said, not what.
    return tuple(sorted(leading, key=lambda term: term.isascii() and len(term) < _SHORT_WORD)[:_NUM_WORDS])


def _terms(text: str) -> list[str]:
    words = _WORD.findall(text)
    return words if text.isascii() else [*words, *_UNSPACED_PAIR.findall(text)]


def _unit(rows: Floats) -> Floats:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)
