"""The batched engine against transformers itself: `model.generate` one row at a time, and plain full forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from luthier.errors import InputError
from luthier.generate import batched
from luthier.generate.batched import BatchedEngine
from luthier.generate.protocol import Completion, Request
from tests.tiny import FAMILIES as MORE_FAMILIES
from tests.tiny import tiny_model

VOCABULARY = 97
PAD, STOP = 0, 96
NEAR_TIE = 1e-4
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.15,
    "pad_token_id": PAD,
    "bos_token_id": 1,
    "eos_token_id": STOP,
}


def _llama() -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**SHAPE))


def _qwen2() -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True))


def _gemma2() -> PreTrainedModel:
    # A window shorter than the prompts, and a cap low enough to change the scores.
    return Gemma2ForCausalLM(
        Gemma2Config(
            **SHAPE,
            head_dim=12,
            sliding_window=8,
            attn_logit_softcapping=2.0,
            query_pre_attn_scalar=12,
            tie_word_embeddings=False,  # tied, a random model repeats its last token and shows nothing
        )
    )


def _mistral() -> PreTrainedModel:
    return MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8))


FAMILIES = {"llama": _llama, "qwen2": _qwen2, "gemma2": _gemma2, "mistral": _mistral}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More threads than idle cores make models as small as these slower by a factor of ten."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=list(FAMILIES))
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    model = FAMILIES[request.param]().eval()
    model.set_attn_implementation("eager" if request.param == "gemma2" else "sdpa")
    return model


@pytest.fixture
def adapted() -> PeftModel:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    return get_peft_model(_llama(), config).eval()


def prompts(shared: int = 20) -> list[tuple[int, ...]]:
    """Ragged prompts, half of which begin alike; one is the beginning of others, one is very short."""
    generator = torch.Generator().manual_seed(3)

    def draw(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, STOP, (length,), generator=generator).tolist())

    start = draw(shared)
    tails = [start + draw(length) for length in (1, 5, 33, 12, 12, 7)]
    return [*tails, start, draw(1), draw(40), draw(9)]


def greedy_by_transformers(model: torch.nn.Module, prompt: tuple[int, ...], num_tokens: int) -> tuple[int, ...]:
    ids = torch.tensor([prompt])
    out = model.generate(  # type: ignore[operator]
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=num_tokens,
        eos_token_id=STOP,
        pad_token_id=PAD,
    )
    return tuple(out[0, len(prompt) :].tolist())


@torch.inference_mode()
def logprobs_by_forward(model: torch.nn.Module, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
    """log p over the vocabulary at each answer position [answer, V], from one forward pass without a cache."""
    logits = model(input_ids=torch.tensor([prompt + answer]), use_cache=False).logits[0]
    return torch.log_softmax(logits.double(), dim=-1)[len(prompt) - 1 : -1]


def assert_same_greedy(model: torch.nn.Module, prompt: tuple[int, ...], got: Completion, num_tokens: int) -> None:
    expected = greedy_by_transformers(model, prompt, num_tokens)
    if got.token_ids == expected:
        return
    first = next(i for i, (a, b) in enumerate(zip(got.token_ids, expected, strict=False)) if a != b)
    best, second = logprobs_by_forward(model, prompt, expected)[first].topk(2).values.tolist()
    assert best - second < NEAR_TIE, f"token {first}: {got.token_ids} instead of {expected}"


def greedy(prompt: tuple[int, ...], num_tokens: int = 20, **settings: object) -> Request:
    return Request(prompt, num_tokens, frozenset({STOP}), **settings)  # type: ignore[arg-type]


def test_greedy_equals_transformers_one_row_at_a_time(model: PreTrainedModel) -> None:
    answers = BatchedEngine(model, batch_size=16).generate([greedy(p) for p in prompts()])
    for prompt, answer in zip(prompts(), answers, strict=True):
        assert_same_greedy(model, prompt, answer, 20)
        assert answer.finish_reason == ("stop" if answer.token_ids[-1] == STOP else "length")


@pytest.mark.parametrize("family", list(MORE_FAMILIES))
def test_logprobs_equal_a_plain_forward_in_every_family(family: str) -> None:
    assert logprob_error(tiny_model(family)) <= 2e-5  # the weights are larger here, and so is rounding


def test_logprobs_equal_a_plain_forward(model: PreTrainedModel) -> None:
    assert logprob_error(model) <= 1e-5


def logprob_error(model: PreTrainedModel) -> float:
    """The largest difference between the engine's log-probabilities and those of plain forwards."""
    errors: list[float] = []
    requests = [greedy(p, temperature=0.7, top_p=0.9, seed=i) for i, p in enumerate(prompts())]
    for prompt, answer in zip(prompts(), BatchedEngine(model).generate(requests), strict=True):
        expected = logprobs_by_forward(model, prompt, answer.token_ids)
        expected = expected.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
        errors.append(float((torch.tensor(answer.logprobs).double() - expected).abs().max()))
    return max(errors)


def test_shared_prefix_and_batch_size_change_nothing(model: PreTrainedModel) -> None:
    requests = [greedy(p, 5 + 3 * i, temperature=0.8 * (i % 2), seed=i) for i, p in enumerate(prompts())]
    reference = BatchedEngine(model, batch_size=1).generate(requests)
    for batch_size, share_prefix in ((3, True), (16, True), (16, False)):
        engine = BatchedEngine(model, batch_size=batch_size, share_prefix=share_prefix)
        for expected, got in zip(reference, engine.generate(requests), strict=True):
            assert got.token_ids == expected.token_ids
            assert got.logprobs == pytest.approx(expected.logprobs, abs=1e-5)


def test_prefix_shared_by_all_rows_of_a_window_model_with_much_padding() -> None:
    """Paddings of 0, shorter than the shared prefix, equal to it and longer in one batch; a window shorter than the longest."""
    torch.manual_seed(0)
    model = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=40)).eval()
    start = prompts(20)[6]
    batch = [start + prompts()[8][:n] for n in (30, 25, 10, 1)]
    answers = BatchedEngine(model).generate([greedy(p) for p in batch])
    for prompt, answer in zip(batch, answers, strict=True):
        assert_same_greedy(model, prompt, answer, 20)


def test_adapter_on_and_off_in_one_call(adapted: PeftModel) -> None:
    requests = [greedy(p, use_adapter=bool(i % 2)) for i, p in enumerate(prompts())]
    answers = BatchedEngine(adapted).generate(requests)
    base_answers = [answers[i] for i in range(0, len(requests), 2)]
    for prompt, answer in zip(prompts()[1::2], answers[1::2], strict=True):
        assert_same_greedy(adapted, prompt, answer, 20)
    with adapted.disable_adapter():
        for prompt, answer in zip(prompts()[::2], base_answers, strict=True):
            assert_same_greedy(adapted, prompt, answer, 20)
    tuned = BatchedEngine(adapted).generate([greedy(p) for p in prompts()[::2]])
    assert [a.token_ids for a in tuned] != [a.token_ids for a in base_answers]


@pytest.mark.parametrize("mixed", [True, False])
def test_base_and_several_adapters_in_one_batch(
    adapted: PeftModel, mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(2)
    adapted.add_adapter("other", LoraConfig(r=3, target_modules=["q_proj", "up_proj"], init_lora_weights=False))
    adapted.eval()
    flags = {name: p.requires_grad for name, p in adapted.named_parameters()}
    monkeypatch.setattr(batched, "can_mix", lambda _: mixed)
    choices = [{"use_adapter": False}, {}, {"adapter": "other"}]
    start = prompts()[0][:20]  # common to all, and of no use to another adapter's rows
    requests = [greedy((*start, 30 + i), **choices[i % 3]) for i in range(9)]
    answers = BatchedEngine(adapted, batch_size=5).generate(requests)
    assert {name: p.requires_grad for name, p in adapted.named_parameters()} == flags
    assert all("forward" not in vars(m) for m in adapted.modules())
    assert len({a.token_ids[:8] for a in answers}) > 3
    for kind, name in enumerate((None, "default", "other")):
        adapted.set_adapter(name or "default")
        with adapted.disable_adapter() if name is None else nullcontext():
            for request, answer in list(zip(requests, answers, strict=True))[kind::3]:
                assert_same_greedy(adapted, request.prompt_ids, answer, 20)
    with pytest.raises(InputError, match="no adapter 'nobody'; the model has default, other"):
        BatchedEngine(adapted).generate([greedy(start, adapter="nobody")])


def test_seed_decides_the_draw_and_nothing_else_in_the_batch_does(model: PreTrainedModel) -> None:
    prompt = prompts()[3]
    draws = [greedy(prompt, temperature=1.0, seed=seed) for seed in range(6)]
    engine = BatchedEngine(model)
    together = engine.generate([*draws, *(greedy(p) for p in prompts())])[:6]
    alone = [engine.generate([request])[0] for request in draws]
    assert [a.token_ids for a in together] == [a.token_ids for a in alone]
    assert len({a.token_ids for a in together}) == 6
