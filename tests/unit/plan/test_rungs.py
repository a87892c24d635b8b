"""The ladder goes down in memory and never below a row; the choice is the first rung that fits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from luthier.plan.engine import ours_on
from luthier.plan.job import Job
from luthier.plan.policy import CheckpointPolicy
from luthier.plan.rungs import Rung, choose, job_on, ladder, plan_on
from luthier.plan.shapes import read_shape

SHAPE = read_shape(
    {
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": True,
    },
    "llama-1b",
)  # fmt: skip
ALL = CheckpointPolicy.keep_all(16)
JOB = Job(SHAPE, "lora", 8192, 700, num_micro_batches=2, policy=ALL)
CUDA = ours_on("cuda")


def rungs(tokens_fixed: bool = False, policy_fixed: bool = False, longest: int = 700) -> tuple[Rung, ...]:
    return ladder(Rung(8192, ALL), longest, tokens_fixed=tokens_fixed, policy_fixed=policy_fixed, offloads=True)


def test_order_is_smaller_batches_then_policies_then_the_smallest_batches() -> None:
    found = rungs()
    assert [r.micro_batch_tokens for r in found] == [8192, 4096, 2048, 1024, 1024, 1024, 1024, 1024, 1024, 700]
    assert [r.policy.counts for r in found[4:9]] == [
        {"all": 8, "attention": 8}, {"attention": 16}, {"attention": 8, "input": 8}, {"input": 16}, {"offload": 16},
    ]  # fmt: skip


def test_what_was_asked_for_stays() -> None:
    assert {r.micro_batch_tokens for r in rungs(tokens_fixed=True)} == {8192}
    assert {r.policy for r in rungs(policy_fixed=True)} == {ALL}
    assert rungs(tokens_fixed=True, policy_fixed=True) == (Rung(8192, ALL),)


def test_a_row_is_never_cut() -> None:
    assert min(r.micro_batch_tokens for r in rungs(longest=3000)) == 3000
    assert rungs(longest=9000)[0].micro_batch_tokens == 8192  # the budget stays; the row goes alone
    assert job_on(replace(JOB, context=9000), rungs(longest=9000)[0]).micro_batch_tokens == 9000


def test_every_rung_needs_less_memory_than_the_one_above() -> None:
    needed = [plan_on(JOB, rung, CUDA).total_bytes for rung in rungs()]
    assert all(below < above for above, below in pairwise(needed)), needed


def test_a_step_keeps_its_tokens() -> None:
    assert job_on(JOB, Rung(2048, ALL)).num_micro_batches == 8


@pytest.mark.parametrize("index", [0, 2, 5, 8])
def test_the_first_rung_that_fits_is_taken(index: int) -> None:
    found = rungs()
    choice = choose(JOB, found, CUDA, plan_on(JOB, found[index], CUDA).high_bytes + 1)
    assert (choice.index, choice.fits) == (index, True)


def test_the_lowest_rung_is_taken_where_nothing_fits_and_it_says_so() -> None:
    choice = choose(JOB, rungs(), CUDA, 1e6)
    assert (choice.index, choice.fits) == (len(rungs()) - 1, False)
