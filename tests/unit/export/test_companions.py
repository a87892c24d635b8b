"""What a contract says is in the files that other programs read."""

from __future__ import annotations

from pathlib import Path

from luthier.data.template import ChatTemplate
from luthier.export.companions import full_template, generation_config, stop_ids_of, write_tokenizer
from luthier.models.contract import InferenceContract
from tests.tiny import tiny_tokenizer

TALK = [{"role": "user", "content": "Hi"}]


def contract_with(system_prompt: str | None, **options: object) -> tuple[InferenceContract, ChatTemplate]:
    template = ChatTemplate.from_tokenizer(tiny_tokenizer(), system_prompt=system_prompt, **options)  # type: ignore[arg-type]
    return InferenceContract.from_template(template, base_model="tiny", generation_eos_ids=[5]), template


def test_the_system_prompt_travels_in_the_template(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    contract, _ = contract_with('It\'s "odd" \\ {{ x }}\nand long')
    tokenizer = tiny_tokenizer()
    before = tokenizer.chat_template
    write_tokenizer(tokenizer, contract, tmp_path)
    assert tokenizer.chat_template == before
    text = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(TALK, tokenize=False)
    assert text.startswith('<|im_start|>system\nIt\'s "odd" \\ {{ x }}\nand long<|im_end|>\n<|im_start|>user\nHi')
    own = [{"role": "system", "content": "Mine"}, *TALK]
    text = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(own, tokenize=False)
    assert text.startswith("<|im_start|>system\nMine<|im_end|>\n<|im_start|>user")


def test_a_template_without_a_place_for_it_gets_it_before_the_first_user_message() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    template = ChatTemplate.from_tokenizer(tokenizer, system_prompt="Be brief.")
    contract = InferenceContract.from_template(template, base_model="tiny")
    whole = full_template(tokenizer, contract)
    text = tokenizer.apply_chat_template(TALK, chat_template=whole, tokenize=False)
    assert text == "<|im_start|>user\nBe brief.\n\nHi<|im_end|>\n"


def test_variables_of_the_template_are_set_unless_given() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template += "{% if enable_thinking %}<think>{% endif %}"
    template = ChatTemplate.from_tokenizer(tokenizer, template_kwargs={"enable_thinking": True})
    whole = full_template(tokenizer, InferenceContract.from_template(template, base_model="tiny"))
    assert tokenizer.apply_chat_template(TALK, chat_template=whole, tokenize=False).endswith("<think>")
    text = tokenizer.apply_chat_template(TALK, chat_template=whole, tokenize=False, enable_thinking=False)
    assert not text.endswith("<think>")


def test_answers_end_where_the_contract_says(tmp_path: Path) -> None:
    contract, _ = contract_with(None)
    generation_config(contract).save_pretrained(tmp_path)
    assert stop_ids_of(tmp_path) == contract.stop_token_ids == (2, 5)
