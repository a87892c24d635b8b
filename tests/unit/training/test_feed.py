"""What the preflight tries is the largest micro-batch that the first steps will bring."""

from __future__ import annotations

import numpy as np

from luthier.data.example import Example, Segment
from luthier.data.tokenize import TokenizedSet
from luthier.training.feed import Feed
from luthier.training.ranks import Ranks


def feed(lengths: list[int], **settings: object) -> Feed:
    rng = np.random.default_rng(0)
    rows = [
        Example(i, (Segment(rng.integers(3, 90, n).astype(np.int32), np.array([0.0] * (n - 1) + [1.0], np.float32)),))
        for i, n in enumerate(lengths)
    ]
    tokens = TokenizedSet.from_examples(rows)
    base = {"batch_size": 4, "budget_tokens": 50, "seed": 0, "ranks": Ranks(), "share_prefixes": True}
    return Feed(train=tokens, validation=tokens, **{**base, **settings})


def test_many_short_rows_can_be_larger_than_the_longest() -> None:
    largest = feed([20, 12, 12, 12, 12, 12, 12, 12]).largest_batch(total_steps=2)
    assert 40 <= largest.num_tokens <= 50
    assert largest.num_tokens > 20


def test_a_row_beyond_the_budget_is_found_whatever_step_it_comes_in() -> None:
    largest = feed([12] * 40 + [80]).largest_batch(total_steps=1)
    assert largest.num_tokens == 80
    assert largest.longest_row_tokens == 80


def test_every_step_s_micro_batches_hold_its_rows_once() -> None:
    rows = feed([12, 30, 7, 9, 41, 5])
    for step in range(2):
        seen = [row for batch in rows.step_batches(step) for row in batch.rows if row >= 0]
        assert len(seen) == len(set(seen))
    assert sum(len([r for r in b.rows if r >= 0]) for s in range(2) for b in rows.step_batches(s)) == 6


def test_the_longest_row_counts_its_shared_beginning() -> None:
    prompt = np.arange(3, 33).astype(np.int32)
    rows = []
    for i in range(4):
        ids = np.concatenate([prompt, np.full(4 + i, 40 + i, np.int32)])
        weights = np.array([0.0] * 30 + [1.0] * (4 + i), np.float32)
        rows.append(Example(i, (Segment(ids, weights),)))
    tokens = TokenizedSet.from_examples(rows)
    shared = Feed(train=tokens, validation=tokens, batch_size=4, budget_tokens=100, seed=0, ranks=Ranks())
    batch = shared.largest_batch(1)
    assert batch.num_tokens == 30 + 4 + 5 + 6 + 7
    assert batch.num_row_tokens == 34 + 35 + 36 + 37
    assert batch.longest_row_tokens == 37
