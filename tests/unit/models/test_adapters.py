"""Which tensors are trained, in which format, with which initial values."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from luthier.errors import ModelError
from luthier.models.adapters import (
    add_lora,
    add_tokens,
    describe_training,
    frozen_parameters,
    load_adapter,
    train_all,
    trained_parameters,
)
from luthier.models.targets import linear_names
from tests.small_tokenizer import small_tokenizer
from tests.tiny import VOCAB, tiny_model

LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def lora(model: Any = None, **changes: Any) -> torch.nn.Module:
    options = {"rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear", "seed": 0}
    model = model or tiny_model("llama").requires_grad_(False)
    return add_lora(model, **{**options, "dtype": torch.float32, **changes})


def test_all_linear_is_every_linear_layer_but_the_head() -> None:
    assert linear_names(tiny_model("llama")) == LINEAR
    names = trained_parameters(lora())
    assert len(names) == 2 * 2 * len(LINEAR)  # layers, A and B
    assert all("lora_A" in name or "lora_B" in name for name in names)
    assert not any("lm_head" in name for name in names)


def test_trained_and_frozen_are_all_and_do_not_overlap() -> None:
    model = lora(target_modules=["q_proj"])
    trained, frozen = trained_parameters(model), frozen_parameters(model)
    assert trained.keys().isdisjoint(frozen)
    assert len(trained) + len(frozen) == len(list(model.parameters()))
    # q_proj: 32 → 32, two layers, rank 4
    assert describe_training(model)[0] == 2 * (4 * 32 + 32 * 4)


def test_an_unknown_module_says_what_was_meant() -> None:
    with pytest.raises(ModelError, match=r"no module 'q_prj'\. Did you mean 'q_proj'\? Linear layers: down_proj"):
        lora(target_modules=["v_proj", "q_prj"])


def test_the_seed_fixes_a_and_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = trained_parameters(lora(seed=1))
    model = tiny_model("llama").requires_grad_(False)
    torch.manual_seed(99)
    again = trained_parameters(lora(model, seed=1))
    other = trained_parameters(lora(seed=2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "lora_A" in name)
    assert all(not first[name].any() for name in first if "lora_B" in name)
    torch.set_rng_state(state)
    lora(tiny_model("llama").requires_grad_(False))
    expected = torch.get_rng_state()
    torch.set_rng_state(state)
    tiny_model("llama")
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adapters_have_the_type_that_was_asked_for(dtype: torch.dtype) -> None:
    model = lora(tiny_model("llama").to(dtype=torch.bfloat16).requires_grad_(False), dtype=dtype)
    assert {p.dtype for p in trained_parameters(model).values()} == {dtype}
    assert {p.dtype for p in frozen_parameters(model).values()} == {torch.bfloat16}
    everything = train_all(tiny_model("llama"), dtype)
    assert {p.dtype for p in trained_parameters(everything).values()} == {dtype}
    assert frozen_parameters(everything) == {}


@pytest.mark.parametrize(("family", "tables"), [("llama-tied", 1), ("llama", 2)])
def test_token_rows_are_trained_beside_the_adapter(family: str, tables: int) -> None:
    model = lora(tiny_model(family).requires_grad_(False), trainable_token_ids=[5, 9])
    rows = {name: p for name, p in trained_parameters(model).items() if "lora_" not in name}
    assert [tuple(p.shape) for p in rows.values()] == [(2, 32)] * tables
    ids = torch.tensor([[5, 6, 9]])
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in rows.values())


@pytest.mark.parametrize("family", ["llama-tied", "llama"])
@pytest.mark.parametrize("rows_before", ["exact", "padded"])
def test_new_tokens_start_at_the_mean(family: str, rows_before: str) -> None:
    tokenizer = small_tokenizer(("<|endoftext|>",))
    old_size = len(tokenizer)
    model = tiny_model(family, vocab_size=old_size + (16 if rows_before == "padded" else 0))
    mean = model.get_input_embeddings().weight[:old_size].mean(0)
    kept = model.get_input_embeddings().weight[:old_size].clone()
    add_tokens(model, tokenizer, ["<|a|>", "<|b|>"])
    table = model.get_input_embeddings().weight
    assert table.shape[0] == old_size + (16 if rows_before == "padded" else 2)
    ids = tokenizer.convert_tokens_to_ids(["<|a|>", "<|b|>"])
    assert ids == [old_size, old_size + 1]
    torch.testing.assert_close(table[ids], torch.stack([mean, mean]))
    assert torch.equal(table[:old_size], kept)
    add_tokens(model, tokenizer, [])
    assert len(tokenizer) == old_size + 2


def test_a_folder_without_an_adapter_and_one_for_another_base(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"holds no adapter_config\.json"):
        load_adapter(tiny_model("llama"), tmp_path)
    lora().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="does not fit the model"):
        load_adapter(tiny_model("llama", hidden_size=64), tmp_path)
    assert tiny_model("llama").get_input_embeddings().weight.shape[0] == VOCAB
