from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from luthier.errors import InputError, ModelError
from luthier.generate.batched import BatchedEngine
from luthier.generate.protocol import Request

VOCABULARY = 31
NEVER = frozenset[int]()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More threads than idle cores make models as small as these slower by a factor of ten."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=24,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config)


def lora(model: LlamaForCausalLM) -> PeftModel:
    return get_peft_model(
        model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, lora_dropout=0.5)
    )


def engine(model: LlamaForCausalLM | PeftModel, batch_size: int = 4) -> BatchedEngine:
    return BatchedEngine(model, batch_size=batch_size)


def test_limits_are_kept_per_request(model: LlamaForCausalLM) -> None:
    answers = engine(model).generate([Request((1, 2, 3), count, NEVER) for count in (5, 1, 3, 2, 4)])
    assert [len(a.token_ids) for a in answers] == [5, 1, 3, 2, 4]
    assert all(len(a.logprobs) == len(a.token_ids) and a.finish_reason == "length" for a in answers)
    # The same prompt: the shorter answers begin the longest.
    assert all(answers[0].token_ids[: len(a.token_ids)] == a.token_ids for a in answers)


def test_stop_token_ends_only_the_request_that_names_it(model: LlamaForCausalLM) -> None:
    free = engine(model).generate([Request((1, 2, 3), 8, NEVER)])[0]
    stop = free.token_ids[2]
    first = free.token_ids.index(stop)
    stopped, other = engine(model).generate([Request((1, 2, 3), 8, frozenset({stop})), Request((1, 2, 3), 8, NEVER)])
    assert stopped.token_ids == free.token_ids[: first + 1]
    assert stopped.finish_reason == "stop"
    assert other.token_ids == free.token_ids


def test_answers_end_where_positions_end(model: LlamaForCausalLM) -> None:
    answers = engine(model).generate([Request((1,) * 20, 50, NEVER), Request((1,) * 24, 50, NEVER)])
    # 4 positions are left, and the last of them predicts one token more.
    assert [len(a.token_ids) for a in answers] == [5, 1]
    assert [a.finish_reason for a in answers] == ["length", "length"]


def test_progress_counts_every_answer_once(model: LlamaForCausalLM) -> None:
    seen: list[int] = []
    requests = [Request((1, 2), 1 + i % 4, NEVER, use_adapter=bool(i % 2)) for i in range(11)]
    engine(model).generate(requests, seen.append)
    assert sum(seen) == 11
    assert all(count > 0 for count in seen)


def test_no_requests_no_answers(model: LlamaForCausalLM) -> None:
    assert engine(model).generate([]) == []


def test_model_is_left_as_it_was(model: LlamaForCausalLM) -> None:
    adapted = lora(model).train()
    adapted.get_base_model().model.norm.eval()
    implementation = adapted.config._attn_implementation
    modes = {name: module.training for name, module in adapted.named_modules()}
    for trainable in (True, False):
        for name, parameter in adapted.named_parameters():
            parameter.requires_grad_(trainable and "lora_A" in name)
        flags = {name: p.requires_grad for name, p in adapted.named_parameters()}
        first, base, second = (
            engine(adapted).generate([Request((1, 2, 3), 6, NEVER, use_adapter=use)])[0] for use in (True, False, True)
        )
        assert first.token_ids == second.token_ids, "dropout was active, or the adapter was not switched on again"
        assert base.token_ids != first.token_ids
        assert {name: p.requires_grad for name, p in adapted.named_parameters()} == flags
    assert {name: module.training for name, module in adapted.named_modules()} == modes
    assert adapted.config._attn_implementation == implementation


def test_model_is_left_as_it_was_after_an_error(model: LlamaForCausalLM) -> None:
    adapted = lora(model).train()
    with torch.no_grad():
        adapted.get_base_model().model.norm.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="no number"):
        engine(adapted).generate([Request((1, 2, 3), 6, NEVER, use_adapter=False)])
    assert adapted.training
    assert adapted.get_model_status().enabled is True


def test_without_an_adapter_both_are_the_same_model(model: LlamaForCausalLM) -> None:
    with_adapter, without = engine(model).generate(
        [Request((1, 2), 5, NEVER, use_adapter=use) for use in (True, False)]
    )
    assert with_adapter.token_ids == without.token_ids


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Request((), 5, NEVER), "Request 2 has an empty prompt"),
        (Request((1,), 0, NEVER), "asks for 0 new tokens"),
        (Request((1,), 5, NEVER, temperature=-1.0), "temperature -1.0"),
        (Request((1,), 5, NEVER, top_p=0.0), "top_p 0.0"),
        (Request((1,), 5, NEVER, top_p=1.5), "top_p 1.5"),
    ],
)
def test_bad_requests_are_named(model: LlamaForCausalLM, request_: Request, says: str) -> None:
    with pytest.raises(InputError, match=says):
        engine(model).generate([Request((1,), 5, NEVER), request_])


def test_prompt_longer_than_the_positions_is_refused(model: LlamaForCausalLM) -> None:
    with pytest.raises(ModelError, match="25 tokens, the model has 24 positions"):
        engine(model).generate([Request((1,) * 25, 1, NEVER)])


def test_disabled_adapters_do_not_answer_in_the_adapters_name(model: LlamaForCausalLM) -> None:
    adapted = lora(model)
    with adapted.disable_adapter(), pytest.raises(ModelError, match="disabled"):
        engine(adapted).generate([Request((1, 2), 3, NEVER)])


def test_virtual_tokens_are_refused(model: LlamaForCausalLM) -> None:
    tuned = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with pytest.raises(ModelError, match="virtual tokens"):
        engine(tuned).generate([Request((1, 2), 3, NEVER)])
    assert len(engine(tuned).generate([Request((1, 2), 3, NEVER, use_adapter=False)])[0].token_ids) == 3


def test_batch_size_must_be_positive(model: LlamaForCausalLM) -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        engine(model, batch_size=0)
