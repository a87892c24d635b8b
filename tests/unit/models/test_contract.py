"""The inference contract: what it holds, that it survives the disk, and what it refuses."""

from __future__ import annotations

import dataclasses
import datetime
import json

import pytest

from luthier.data.template import ChatTemplate
from luthier.errors import ModelError
from luthier.generate.protocol import Request
from luthier.generate.requests import build_request
from luthier.models.contract import InferenceContract
from luthier.types import Message
from tests.small_tokenizer import small_tokenizer

DATED = (
    "{{ strftime_now('%Y') }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not thinking %}<think></think>{% endif %}{% endif %}"
)


@pytest.fixture
def chat_template() -> ChatTemplate:
    return ChatTemplate.from_tokenizer(
        small_tokenizer(),
        template=DATED,
        system_prompt="Be brief",
        template_kwargs={"thinking": True},
        date=datetime.date(2031, 1, 1),
    )


@pytest.fixture
def contract(chat_template: ChatTemplate) -> InferenceContract:
    return InferenceContract.from_template(
        chat_template, base_model="tiny", generation_eos_ids=[3], max_new_tokens=40, temperature=0.5
    )


def test_it_holds_stop_tokens_of_template_tokenizer_and_generation_config(contract, chat_template):
    ids = {3, *chat_template.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])}
    assert contract.stop_token_ids == tuple(sorted(ids))
    assert contract.stop_ids == ids
    assert contract.stop_tokens == tuple(chat_template.tokenizer.convert_ids_to_tokens(sorted(ids)))
    assert contract.bos_token_id is None


def test_it_survives_the_disk_and_renders_the_same(contract, chat_template, tmp_path):
    contract.save(tmp_path)
    json.loads((tmp_path / "contract.json").read_text())
    loaded = InferenceContract.load(tmp_path)
    assert loaded == contract

    again = loaded.chat_template(small_tokenizer())
    messages = [Message("user", "Hello")]
    assert again.fingerprint == chat_template.fingerprint
    assert again.tokenizer.decode(again.prompt_ids(messages)) == (
        "2031<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )


def test_another_tokenizer_is_refused(contract):
    other = small_tokenizer(("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|more|>"))
    with pytest.raises(ModelError, match="is not the one that tiny was trained with"):
        contract.chat_template(other)


def test_an_edited_template_is_refused(contract):
    edited = dataclasses.replace(contract, system_prompt="Be long")
    with pytest.raises(ModelError, match="edited after training"):
        edited.chat_template(small_tokenizer())


def test_new_chatml_tokens_are_in_the_tokenizer_that_the_contract_wants(tmp_path):
    tokenizer = small_tokenizer(("<|endoftext|>",))
    contract = InferenceContract.from_template(
        ChatTemplate.from_tokenizer(tokenizer, template="chatml"), base_model="tiny"
    )
    with pytest.raises(ModelError, match="is not the one"):
        contract.chat_template(small_tokenizer(("<|endoftext|>",)))
    tokenizer.save_pretrained(tmp_path)
    saved = type(tokenizer).from_pretrained(tmp_path)
    assert contract.chat_template(saved).prompt_ids([Message("user", "Hello")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"colour": "red"}, r"unknown \['colour'\]"),
        ({"template": None}, r"missing \['template'\]"),
    ],
)
def test_damaged_contracts_are_refused(contract, change, message):
    content = {**contract.to_json(), **change}
    content = {key: value for key, value in content.items() if value is not None or key == "bos_token_id"}
    with pytest.raises(ModelError, match=message):
        InferenceContract.from_json(content)


def test_a_folder_without_contract_and_a_broken_file(tmp_path):
    with pytest.raises(ModelError, match=r"has no contract\.json"):
        InferenceContract.load(tmp_path)
    (tmp_path / "contract.json").write_text("{")
    with pytest.raises(ModelError, match="is not JSON"):
        InferenceContract.load(tmp_path)


def test_requests_take_the_contracts_defaults_and_can_change_them(contract, chat_template):
    messages = [Message("user", "Hello")]
    prompt = tuple(chat_template.prompt_ids(messages))
    assert build_request(contract, chat_template, messages) == Request(
        prompt_ids=prompt, max_new_tokens=40, stop_ids=contract.stop_ids, temperature=0.5
    )
    assert build_request(
        contract, chat_template, messages, max_new_tokens=7, temperature=0.0, top_p=0.9, seed=3, use_adapter=False
    ) == Request(prompt, 7, contract.stop_ids, temperature=0.0, top_p=0.9, seed=3, use_adapter=False)
