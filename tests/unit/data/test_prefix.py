"""Shared beginnings: every row comes out of the tree as it went in, and trained tokens are never shared."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.collate import collate
from luthier.data.example import Example, Segment
from luthier.data.prefix import LEAST_SHARED_TOKENS, plan_sharing

SYSTEM = list(range(100, 100 + LEAST_SHARED_TOKENS + 4))
OTHER = list(range(300, 300 + LEAST_SHARED_TOKENS))


def row(index: int, prompt: list[int], answer: list[int]) -> Example:
    ids = np.array(prompt + answer, dtype=np.int32)
    weights = np.array([0.0] * len(prompt) + [1.0] * len(answer), dtype=np.float32)
    return Example(index, (Segment(ids, weights),))


def unfold(examples: list[Example]) -> dict[int, tuple[list[int], list[float]]]:
    """Each row again, from the segments that lead to it."""
    rows = {}
    for example in examples:
        for segment in example.segments:
            number = example.row if segment.row is None else segment.row
            if number < 0:
                continue
            chain = [segment]
            while chain[0].parent >= 0:
                chain.insert(0, example.segments[chain[0].parent])
            ids = [int(t) for s in chain for t in s.ids]
            rows[number] = (ids, [float(w) for s in chain for w in s.weights])
    return rows


def test_a_common_system_prompt_is_stored_once() -> None:
    rows = [row(i, [*SYSTEM, i], [50 + i, 2]) for i in range(5)]
    (tree,) = plan_sharing(rows, budget_tokens=1000)
    assert [len(s.ids) for s in tree.segments] == [len(SYSTEM), 3, 3, 3, 3, 3]
    assert [s.row for s in tree.segments] == [-1, 0, 1, 2, 3, 4]
    batch = collate([tree])
    assert batch.num_tokens == len(SYSTEM) + 15
    assert batch.num_row_tokens == 5 * (len(SYSTEM) + 3)


def test_prefixes_nest() -> None:
    rows = [row(i, SYSTEM + (OTHER if i < 2 else []) + [i], [7]) for i in range(4)]
    (tree,) = plan_sharing(rows, 1000)
    shared = [(len(s.ids), s.parent) for s in tree.segments if s.row == -1]
    assert shared == [(len(SYSTEM), -1), (len(OTHER), 0)]


def test_trained_tokens_and_whole_rows_are_never_shared() -> None:
    same = [row(i, SYSTEM[:10], [*SYSTEM[10:], 2]) for i in range(3)]
    assert plan_sharing(same, 1000) == same
    untrained = [row(i, SYSTEM, []) for i in range(2)]
    assert all(len(s.ids) >= 1 for e in plan_sharing(untrained, 1000) for s in e.segments)
    assert unfold(plan_sharing(untrained, 1000)) == unfold(untrained)


def test_the_budget_is_kept() -> None:
    rows = [row(i, [*SYSTEM, i], [50 + i] * 9) for i in range(12)]
    trees = plan_sharing(rows, budget_tokens=len(SYSTEM) + 35)
    assert [t.num_tokens for t in trees] == [len(SYSTEM) + 30] * 4
    alone = plan_sharing(rows, budget_tokens=8)  # nothing fits: each row stays alone, uncut
    assert unfold(alone) == unfold(rows)
    assert len(alone) == 12


prompts = st.lists(st.integers(0, 2), max_size=3).map(lambda parts: [t for p in parts for t in [SYSTEM, OTHER, [9]][p]])


answers = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@given(st.lists(st.tuples(prompts, answers), min_size=1, max_size=9), st.integers(1, 200))
def test_every_row_comes_out_as_it_went_in(parts: list[tuple[list[int], list[int]]], budget: int) -> None:
    rows = [row(i, [1, *prompt], answer) for i, (prompt, answer) in enumerate(parts)]
    trees = plan_sharing(rows, budget)
    assert unfold(trees) == unfold(rows)
    for tree in trees:
        assert tree.num_tokens <= max(budget, max(r.num_tokens for r in rows))
        batch = collate([tree])  # the table's own assertions hold
        assert batch.num_targets == sum(int((s.weights > 0).sum()) for s in tree.segments)
