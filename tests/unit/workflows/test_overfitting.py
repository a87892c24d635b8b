"""The last checkpoint against the best: the gap and where it began, the paired test, and the losses of single rows."""

import math

import numpy as np
import pytest

from luthier.workflows.overfitting import Gap, RowLosses, gaps, growing_since, judge_overfitting


def _records(train, validation, every=2):
    """`validation` losses after every second training step; the first is that of the untrained model."""
    lines = [{"kind": "validation", "step": 0, "loss": validation[0]}]
    for step, loss in enumerate(train, start=1):
        lines.append({"kind": "train", "step": step, "loss": loss})
        if step % every == 0:
            lines.append({"kind": "validation", "step": step, "loss": validation[step // every]})
    return lines


RECORDS = _records([3.0, 2.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.1], [3.0, 2.4, 1.6, 1.9, 2.5])


def test_gaps_are_of_the_steps_since_the_validation_before():
    assert gaps(RECORDS) == [
        Gap(2, 2.5, 2.4), Gap(4, 1.5, 1.6), Gap(6, 0.75, 1.9), Gap(8, pytest.approx(0.3), 2.5)
    ]  # fmt: skip


def test_where_the_gap_began_to_grow():
    assert growing_since(gaps(RECORDS)) == 2
    widths = [Gap(i, 0.0, width) for i, width in enumerate([0.3, 0.1, 0.2, 0.5])]
    assert growing_since(widths) == 1
    assert growing_since([*widths, Gap(4, 0.0, 0.4)]) is None
    assert growing_since(widths[:1]) is None


def _rows(shift, seed=0, num_rows=60):
    noise = np.random.default_rng(seed).normal(0, 0.1, num_rows)
    base = np.linspace(1.0, 2.0, num_rows)
    weights = tuple(float(5 + i % 7) for i in range(num_rows))
    return RowLosses(tuple(base), weights), RowLosses(tuple(base + shift + noise), weights)


def test_a_last_checkpoint_that_is_worse_on_the_rows_is_overfitting():
    best, last = _rows(0.5)
    found = judge_overfitting(RECORDS, 4, best, last, "nats per token")
    expected = np.average(np.array(last.losses) - best.losses, weights=best.weights)
    assert found.comparison.difference.mean == pytest.approx(expected)
    assert found.comparison.verdict == "worse"
    assert found.comparison.p_value < 0.001
    assert (found.best.width, found.last.width) == pytest.approx((0.1, 2.2))
    assert found.is_shown
    assert "growing since step 2" in found.sentence()
    assert "what was learnt after step 4 is the rows themselves" in found.sentence()
    assert found.to_json()["sentence"] == found.sentence()


def test_a_rise_within_chance_is_none():
    best, last = _rows(0.0, seed=3)
    found = judge_overfitting(RECORDS, 4, best, last, "nats per token")
    assert found.comparison.verdict == "no evidence"
    assert not found.is_shown
    assert "no evidence that the last is worse" in found.sentence()


def test_what_was_not_validated_or_is_no_number_gives_nothing():
    best, last = _rows(0.5)
    assert judge_overfitting(RECORDS, 3, best, last, "nats per token") is None
    broken = RowLosses((math.nan, *last.losses[1:]), last.weights)
    assert judge_overfitting(RECORDS, 4, best, broken, "nats per token") is None
