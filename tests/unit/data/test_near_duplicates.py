"""Near duplicates against a plain all-pairs computation, and the blocks that keep memory bounded."""

from __future__ import annotations

import itertools
import random

import pytest

from luthier.data import near_duplicates
from luthier.data.near_duplicates import near_duplicate_pairs

WORDS = [f"{a}{b}" for a in ("ri", "sto", "lam", "gar", "win", "cop") for b in ("ver", "ne", "den", "ter", "per")]


def by_hand(a: str, b: str) -> float:
    """Jaccard similarity of word 5-shingles, from the texts themselves."""
    left, right = ({tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (a.split(), b.split()))
    return len(left & right) / len(left | right)


def corpus(seed: int) -> list[str]:
    """Texts, and for half of them a copy with up to four words changed."""
    rng = random.Random(seed)
    texts: list[str] = []
    for _ in range(60):
        words = [rng.choice(WORDS) for _ in range(rng.randint(40, 90))]
        texts.append(" ".join(words))
        if rng.random() < 0.5:
            for _ in range(rng.randint(0, 4)):
                words[rng.randrange(len(words))] = rng.choice(WORDS)
            texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize("block_words", [1, 200, 1_000_000])
def test_pairs_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch, block_words: int):
    monkeypatch.setattr(near_duplicates, "_BLOCK_WORDS", block_words)
    texts = corpus(1)
    expected = {(i, j) for i, j in itertools.combinations(range(len(texts)), 2) if by_hand(texts[i], texts[j]) >= 0.8}
    assert len(expected) > 10
    assert {tuple(sorted(pair)) for pair in near_duplicate_pairs(texts)} == expected


def test_counting_by_ranges_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    shared = "every text begins with the same long instruction that says what is to be done"
    texts = [f"{shared} {text}" for text in corpus(2)]
    whole = sorted(near_duplicate_pairs(texts))
    monkeypatch.setattr(near_duplicates, "_COUNTED_AT_ONCE", 500)
    assert sorted(near_duplicate_pairs(texts)) == whole


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["one two"], ["one two", ""]])
def test_little_or_nothing(texts: list[str]):
    assert near_duplicate_pairs(texts) == []


def test_texts_shorter_than_a_shingle_are_compared_whole():
    assert near_duplicate_pairs(["one two", "three", "one two"]) in ([(0, 2)], [(2, 0)])
    texts = ["a b c d", "", "b c d", "x", "a b c d", "a b c d e f", "a b", "c d", "x", "a b c d e"]
    found = {tuple(sorted(pair)) for pair in near_duplicate_pairs(texts)}
    assert found == {(0, 4), (3, 8)}


@pytest.mark.slow
def test_all_planted_pairs_and_no_other_among_five_thousand_documents():
    """5,000 distinct documents on 50 subjects with a vocabulary of each, and 500 copies with one word changed."""
    rng = random.Random(3)
    texts: list[str] = []
    for number in range(5000):
        subject = random.Random(number % 50).sample([f"{word}{i}" for word in WORDS for i in range(20)], 80)
        texts.append(" ".join(rng.choices(subject, k=rng.randint(70, 140))))
    originals = rng.sample(range(5000), 500)
    for original in originals:
        words = texts[original].split()
        words[rng.randrange(len(words))] = (
            "changed"  # at most 5 of at least 66 shingles differ: Jaccard ≥ 61/71 = 0.859
        )
        texts.append(" ".join(words))
    planted = {(original, 5000 + copy) for copy, original in enumerate(originals)}
    assert {tuple(sorted(pair)) for pair in near_duplicate_pairs(texts)} == planted
