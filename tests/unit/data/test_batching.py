"""Order, packing and collation: properties that hold for any rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.batch import SegmentTable
from luthier.data.collate import collate
from luthier.data.example import Example, Segment
from luthier.data.order import step_rows, steps_per_epoch, total_steps
from luthier.data.pack import pack, pack_for_ranks

lengths_lists = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(lengths_lists, st.integers(1, 100))
def test_packing_keeps_every_row_once_and_the_budget(lengths: list[int], budget: int) -> None:
    bins = pack(lengths, budget)
    assert sorted(i for b in bins for i in b) == list(range(len(lengths)))
    for packed in bins:
        assert sum(lengths[i] for i in packed) <= budget or len(packed) == 1


@given(lengths_lists, st.integers(60, 120))
def test_packing_never_needs_twice_the_bins(lengths: list[int], budget: int) -> None:
    # best fit leaves at most one bin half empty or less
    assert len(pack(lengths, budget)) <= 2 * sum(lengths) / budget + 1


@given(lengths_lists, st.integers(1, 100), st.integers(1, 5))
def test_ranks_share_all_rows_in_equally_many_micro_batches(lengths: list[int], budget: int, num_ranks: int) -> None:
    per_rank = pack_for_ranks(lengths, budget, num_ranks)
    assert len(per_rank) == num_ranks
    assert len({len(r) for r in per_rank}) == 1
    assert sorted(i for r in per_rank for b in r for i in b) == list(range(len(lengths)))


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 9))
def test_an_epoch_sees_every_row_once(num_rows: int, batch_size: int, seed: int) -> None:
    steps = steps_per_epoch(num_rows, batch_size)
    for epoch in range(2):
        rows = [r for s in range(steps) for r in step_rows(num_rows, batch_size, seed=seed, step=epoch * steps + s)]
        assert sorted(rows) == list(range(num_rows))


def test_epochs_and_seeds_have_their_own_order() -> None:
    first, second = (step_rows(64, 64, seed=0, step=s) for s in (0, 1))
    assert first != second != step_rows(64, 64, seed=1, step=0)
    assert first == step_rows(64, 64, seed=0, step=0)


@pytest.mark.parametrize(
    ("rows", "batch", "epochs", "max_steps", "expected"),
    [
        (100, 16, 3.0, None, 21),
        (100, 16, 3.0, 5, 5),
        (16, 16, 0.1, None, 1),
        (160, 16, 1.5, None, 15),
        (10, 3, 0.3, None, 2),
    ],
)
def test_number_of_steps(rows: int, batch: int, epochs: float, max_steps: int | None, expected: int) -> None:
    assert total_steps(rows, batch, epochs=epochs, max_steps=max_steps) == expected


def segment(ids: list[int], weights: list[float], parent: int = -1) -> Segment:
    return Segment(np.array(ids, dtype=np.int32), np.array(weights, dtype=np.float32), parent)


def test_collation_by_hand() -> None:
    rows = [
        Example(7, (segment([10, 11, 12], [0, 0, 1]),)),
        # a prompt of two tokens (its second trained) with two answers that continue it
        Example(8, (segment([20, 21], [0, 0.5]), segment([30, 31], [1, 1], 0), segment([40], [1], 0))),
    ]
    batch = collate(rows)
    assert batch.input_ids_T.tolist() == [10, 11, 12, 20, 21, 30, 31, 40]
    assert batch.position_ids_T.tolist() == [0, 1, 2, 0, 1, 2, 3, 2]
    assert batch.segments == SegmentTable((0, 3, 5, 7), (3, 2, 2, 1), (-1, -1, 1, 1))
    assert batch.targets.ids_S.tolist() == [12, 21, 30, 31, 40]
    assert batch.targets.positions_S.tolist() == [1, 3, 4, 5, 4]
    assert batch.targets.weights_S.tolist() == [1, 0.5, 1, 1, 1]
    assert batch.targets.segments_S.tolist() == [0, 1, 2, 2, 3]
    assert batch.rows == (7, 8, 8, 8)
    filler = batch.without_weight()
    assert filler.targets.weights_S.tolist() == [0] * 5
    assert set(filler.rows) == {-1}


def test_a_first_token_that_nothing_predicts_must_not_be_trained() -> None:
    with pytest.raises(AssertionError, match="row 3"):
        collate([Example(3, (segment([1, 2], [1, 1]),))])


def test_segment_tables_are_checked() -> None:
    with pytest.raises(AssertionError, match="starts at 4"):
        SegmentTable((0, 4), (3, 2), (-1, -1))
    with pytest.raises(AssertionError, match="parent"):
        SegmentTable((0, 3), (3, 2), (-1, 1))
    table = SegmentTable((0, 2, 5), (2, 3, 1), (-1, 0, 1))
    assert table.ancestors(2) == [0, 1]
    assert table.context_length(2) == 5
