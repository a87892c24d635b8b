"""The sample with the smallest hashes: a random one, the same in any order, equal keys once."""

from __future__ import annotations

import random

from luthier.data.hash_sample import HashSample


def test_it_keeps_the_smallest_keys_in_any_order():
    keys = random.Random(0).sample(range(10**6), 1000)
    for shuffled in (keys, sorted(keys), sorted(keys, reverse=True)):
        sample: HashSample[str] = HashSample(10)
        for key in shuffled:
            if sample.wants(key):
                sample.add(key, str(key))
        assert sample.values() == [str(key) for key in sorted(keys)[:10]]


def test_equal_keys_count_once():
    sample: HashSample[str] = HashSample(3)
    for key, value in ((5, "a"), (5, "b"), (1, "c"), (9, "d"), (9, "e"), (2, "f"), (5, "g")):
        sample.add(key, value)
    assert sample.values() == ["c", "f", "a"]
    assert len(sample) == 3
