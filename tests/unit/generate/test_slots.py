"""Slots: what a prompt has in common with computed ones is copied, rows come and go, memory is bounded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import tiny_model

from luthier.generate.batched import BatchedEngine
from luthier.generate.protocol import Request
from luthier.generate.running import RunningBatch
from luthier.generate.slots import MIN_SHARED_TOKENS, Known, SlotMemory, Step, common_length

IDS = st.lists(st.integers(0, 2), max_size=40).map(tuple)


@given(IDS, IDS)
def test_common_length_is_the_longest(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    length = common_length(a, b)
    assert a[:length] == b[:length]
    assert length == min(len(a), len(b)) or a[length] != b[length]


def test_a_slot_takes_over_entries_and_their_tokens() -> None:
    memory = SlotMemory(num_slots=2, capacity=5)
    like = torch.empty(1, 3, 4)
    keys, values = memory.layer(0, like, like)
    assert keys.shape == values.shape == (2, 3, 5, 4)
    keys[0], values[0] = torch.randn(3, 5, 4), torch.randn(3, 5, 4)
    memory.token_ids[0] = (7, 8, 9)
    assert memory.longest_known((7, 8, 1), None) == Known(0, 2)
    assert memory.longest_known((7, 8, 1), "other").length == 0
    memory.take_over(Known(0, 2), 1)
    assert memory.token_ids[1] == (7, 8)
    assert torch.equal(keys[1, :, :2], keys[0, :, :2])
    assert not keys[1, :, 2:].any()


class Watch:
    """Counts what the engine computes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[list[int]] = []
        forward = RunningBatch._forward

        def counted(engine: RunningBatch, ids: tuple[int, ...], step: Step) -> torch.Tensor:
            self.steps.append([piece.length for piece in step.pieces])
            return forward(engine, ids, step)

        monkeypatch.setattr(RunningBatch, "_forward", counted)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    return Watch(monkeypatch)


def test_a_common_beginning_is_computed_once(watch: Watch) -> None:
    start = tuple(range(3, 3 + MIN_SHARED_TOKENS + 4))
    requests = [Request((*start, 40 + n, 41 + n), 1, frozenset()) for n in range(5)]
    BatchedEngine(tiny_model("llama")).generate(requests)
    assert watch.steps == [[22], [2, 2, 2, 2]]


def test_free_slots_are_filled_while_others_go_on(watch: Watch) -> None:
    requests = [Request((3, 4, 5), limit, frozenset()) for limit in (9, 2, 2, 9, 2, 2)]
    answers = BatchedEngine(tiny_model("llama"), batch_size=2).generate(requests)
    assert [len(a.token_ids) for a in answers] == [9, 2, 2, 9, 2, 2]
    # Two at a time, and 20 tokens after the prompts' own: with 6 prompts at once per pair it would be 8 + 8 + 1 decoding steps.
    decoding = [step for step in watch.steps if set(step) == {1}]
    assert len(decoding) < 17
    assert sum(map(len, decoding)) == 20
    assert max(map(len, watch.steps)) == 2


def test_rows_at_once_are_bounded_by_memory(watch: Watch) -> None:
    model = tiny_model("llama")
    config = model.config
    per_token = 2 * 4 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    requests = [Request((3, 4, 5 + n), 6, frozenset()) for n in range(6)]
    free = BatchedEngine(model).generate(requests)
    assert max(map(len, watch.steps)) == 6
    watch.steps.clear()
    bounded = BatchedEngine(model, max_cache_bytes=3 * per_token * 8).generate(requests)
    assert max(map(len, watch.steps)) == 3
    assert [a.token_ids for a in bounded] == [a.token_ids for a in free]
    watch.steps.clear()
    BatchedEngine(model, max_cache_bytes=1).generate(requests)
    assert max(map(len, watch.steps)) == 1
