"""The checks know prompt trees: they pass for sound ones, and each fails on a planted defect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from luthier.accel.scorer import ScoringModel
from luthier.checks.data import answers_end
from luthier.checks.preflight import packing_does_not_leak, step0_equals_plain_forward
from luthier.checks.result import still_stops
from luthier.data.example import Example, Segment
from luthier.data.tokenize import TokenizedSet
from luthier.generate.protocol import Completion
from luthier.models.placement import Placement
from tests.parity.preference_rows import pair_trees, random_pairs
from tests.tiny import VOCAB, tiny_model

END = 2


def ended(row: Example, index: int, last: int) -> Example:
    segments = list(row.segments)
    ids = segments[index].ids.copy()
    ids[-1] = last
    segments[index] = replace(segments[index], ids=ids)
    return Example(row.row, tuple(segments))


def test_each_answer_of_a_pair_must_end() -> None:
    rows = [ended(ended(row, 1, END), 2, END) for row in pair_trees(random_pairs())]
    assert answers_end([TokenizedSet.from_examples(rows)], frozenset({END}), None).passed
    rows[3] = ended(rows[3], 2, 50)
    check = answers_end([TokenizedSet.from_examples(rows)], frozenset({END}), None)
    assert not check.passed
    assert "15 of 16" in str(check.measured)
    assert "row 3" in str(check.measured)


def test_an_answer_that_was_cut_counts_with_its_prompt() -> None:
    prompt = Segment(np.arange(3, 9).astype(np.int32), np.zeros(6, np.float32), row=-1)
    answer = Segment(np.arange(20, 24).astype(np.int32), np.ones(4, np.float32), 0)
    tokens = TokenizedSet.from_examples([Example(0, (prompt, answer))])
    assert answers_end([tokens], frozenset({END}), 10).passed
    assert not answers_end([tokens], frozenset({END}), 4).passed


def test_pairs_are_scored_as_plain_rows_and_do_not_see_each_other() -> None:
    scoring = ScoringModel(tiny_model("llama"), "sdpa")
    rows = pair_trees(random_pairs())[:4]
    assert step0_equals_plain_forward(scoring, rows, Placement(torch.device("cpu"), "fp32")).passed
    assert packing_does_not_leak(scoring, rows[0], rows[2], VOCAB).passed


def test_endings_must_not_be_unlearnt() -> None:
    def answers(*stopped: bool) -> list[Completion]:
        return [Completion((5,), (-1.0,), "stop" if stop else "length") for stop in stopped]

    assert still_stops(answers(False, False), answers(False, False)).passed, "it was never taught"
    assert still_stops(answers(True, True, True), answers(True, True, False)).passed, "one prompt is chance"
    assert not still_stops(answers(*[True] * 4), answers(True, False, False, False)).passed
