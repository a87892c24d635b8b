"""Streaming gives the tokens that `generate` gives, and leaves the model as it was, also when it is stopped in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tests.tiny import tiny_model

from luthier.errors import InputError
from luthier.generate.batched import BatchedEngine
from luthier.generate.protocol import Request

NEVER = frozenset[int]()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> PeftModel:
    torch.manual_seed(0)
    return get_peft_model(
        tiny_model("llama"), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, lora_dropout=0.5)
    )


def engine(model: PeftModel) -> BatchedEngine:
    return BatchedEngine(model, batch_size=4)


@pytest.mark.parametrize("use_adapter", [True, False])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_stream_equals_generate(model: PeftModel, use_adapter: bool, temperature: float) -> None:
    request = Request((5, 6, 7, 8), 12, NEVER, temperature=temperature, seed=3, use_adapter=use_adapter)
    (whole,) = engine(model).generate([request])
    assert tuple(engine(model).stream(request)) == whole.token_ids
    stop = whole.token_ids[4]
    (stopped,) = engine(model).generate(
        [Request((5, 6, 7, 8), 12, frozenset({stop}), temperature, 1.0, 3, use_adapter)]
    )
    streamed = tuple(
        engine(model).stream(Request((5, 6, 7, 8), 12, frozenset({stop}), temperature, 1.0, 3, use_adapter))
    )
    assert streamed == stopped.token_ids
    assert streamed[-1] == stop


def test_base_and_tuned_differ_in_place(model: PeftModel) -> None:
    answers = [
        tuple(engine(model).stream(Request((5, 6, 7, 8), 12, NEVER, use_adapter=on))) for on in (True, False, True)
    ]
    assert answers[0] == answers[2] != answers[1]


@pytest.mark.parametrize("use_adapter", [True, False])
def test_closing_early_leaves_the_model_as_it_was(model: PeftModel, use_adapter: bool) -> None:
    model.train()
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    with closing(engine(model).stream(Request((5, 6, 7), 50, NEVER, use_adapter=use_adapter))) as tokens:
        next(tokens)
        assert not torch.is_inference_mode_enabled(), "what happens between tokens is the caller's"
        next(tokens)
    assert model.training
    assert model.get_model_status().enabled is True
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags


def test_a_bad_request_is_refused(model: PeftModel) -> None:
    with pytest.raises(InputError, match="empty prompt"):
        next(engine(model).stream(Request((), 5, NEVER)))
