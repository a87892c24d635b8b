"""Lengths and what limits cost, against counts by hand; bounds of samples against all rows."""

from __future__ import annotations

import numpy as np
import pytest

from luthier.data.row_lengths import RowLength, row_share_error, summarise_lengths


def row(num_prompt: int, num_answer: int, *, is_cut: bool = False) -> RowLength:
    trained = np.arange(num_prompt, num_prompt + num_answer, dtype=np.int32)
    return RowLength(num_prompt + num_answer, num_prompt + num_answer, trained, is_cut)


def test_costs_by_hand():
    # lengths 40, 100, 200 with answers of 20, 50, 130 tokens: 200 answer tokens of 340
    summary = summarise_lengths([row(20, 20), row(50, 50), row(70, 130)], 3, limits=[150])
    assert (summary.num_tokens, summary.num_answer_tokens, summary.longest, summary.median) == (340, 200, 200, 100)
    assert summary.supervised_share == pytest.approx(200 / 340)
    filled = [tuple(bin) for bin in summary.histogram if bin.num_examples]
    assert filled == [(40, 1), (100, 1), (200, 1)]
    costs = {cost.max_length: cost for cost in summary.costs}
    assert list(costs) == [64, 128, 150, 256]
    assert (costs[64].num_rows, costs[64].dropped_share) == (2, 180 / 200)
    # at 64 the second row keeps 14 answer tokens of 50; of the third nothing learnt is left
    assert costs[64].truncated_share == pytest.approx((36 + 130) / 200)
    assert costs[150].num_rows == 1
    assert costs[150].dropped_share == pytest.approx(130 / 200)
    assert costs[150].truncated_share == pytest.approx(50 / 200)
    assert costs[256].num_rows == costs[256].dropped_share == costs[256].truncated_share == 0
    assert all(cost.row_share_error == cost.dropped_share_error == 0 for cost in summary.costs)


def test_running_text_loses_nothing():
    summary = summarise_lengths([row(0, 1000, is_cut=True)], 1)
    assert all(cost.num_rows == 0 and cost.truncated_share == 0 for cost in summary.costs)


def test_the_bound_on_shares_of_rows():
    # sqrt(ln(40) / 40000)
    assert row_share_error(20_000) == pytest.approx(0.00960, abs=1e-5)


def test_bounds_of_samples_hold_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    rows = [row(int(p), int(a)) for p, a in zip(rng.lognormal(5, 1, 3000), rng.lognormal(4, 1, 3000) + 1, strict=True)]
    truth = summarise_lengths(rows, 3000)
    by_limit = {cost.max_length: cost for cost in truth.costs}
    held = {"tokens": 0, "supervised": 0, "rows": 0, "dropped": 0, "truncated": 0}
    for _ in range(60):
        some = [rows[i] for i in rng.choice(3000, 300, replace=False)]
        found = summarise_lengths(some, 3000)
        held["tokens"] += abs(found.num_tokens - truth.num_tokens) <= found.num_tokens_error
        held["supervised"] += abs(found.supervised_share - truth.supervised_share) <= found.supervised_share_error
        costs = [(cost, by_limit[cost.max_length]) for cost in found.costs if cost.max_length in by_limit]
        held["rows"] += all(abs(a.row_share - b.row_share) <= a.row_share_error for a, b in costs)
        (a, b) = next(pair for pair in costs if pair[0].max_length == 512)
        held["dropped"] += abs(a.dropped_share - b.dropped_share) <= a.dropped_share_error
        held["truncated"] += abs(a.truncated_share - b.truncated_share) <= a.truncated_share_error
    assert all(count >= 51 for count in held.values()), held
