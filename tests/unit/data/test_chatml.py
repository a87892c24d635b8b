"""ChatML for base models: which tokens become markers, and what is rendered with them."""

from __future__ import annotations

import pytest

from luthier.data.chatml import set_up_chatml
from luthier.data.template import ChatTemplate
from luthier.types import Conversation, Message
from tests.small_tokenizer import small_tokenizer


def test_markers_that_the_tokenizer_knows_are_used_as_they_are():
    tokenizer = small_tokenizer()
    setup = set_up_chatml(tokenizer)
    assert (setup.start_token, setup.end_token) == ("<|im_start|>", "<|im_end|>")
    assert [setup.start_id, setup.end_id] == tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    assert setup.new_tokens == setup.trainable_ids == ()


@pytest.mark.parametrize(
    ("reserved", "others"),
    [
        (["<|reserved_special_token_0|>", "<|reserved_special_token_1|>"], ["<|eot_id|>"]),
        (["<unused0>", "<unused1>", "<unused2>"], ["<mask>"]),
        (["<|extra_0|>", "<|extra_1|>"], []),
        (["[control_8]", "[control_9]"], ["[INST]"]),
        (["<SPECIAL_14>", "<SPECIAL_15>"], ["[INST]"]),
        (["<|dummy_0|>", "<|dummy_1|>"], []),
        (["<｜place▁holder▁no▁0｜>", "<｜place▁holder▁no▁1｜>"], []),
    ],
)
def test_reserved_tokens_become_markers_and_are_trained(reserved, others):
    tokenizer = small_tokenizer(("<|endoftext|>", *others, *reserved))
    before = len(tokenizer)
    setup = set_up_chatml(tokenizer)
    assert (setup.start_token, setup.end_token) == tuple(reserved[:2])
    assert list(setup.trainable_ids) == tokenizer.convert_tokens_to_ids(reserved[:2])
    assert setup.new_tokens == ()
    assert len(tokenizer) == before

    rendered = ChatTemplate.from_tokenizer(tokenizer, template="chatml").encode(
        Conversation((Message("user", "Hello"), Message("assistant", "Hi")))
    )
    start, end = reserved[:2]
    assert rendered.text == f"{start}user\nHello{end}\n{start}assistant\nHi{end}\n"
    assert tokenizer.decode(rendered.ids[rendered.trained]) == f"Hi{end}"


def test_a_reserved_token_with_a_role_is_not_taken():
    tokenizer = small_tokenizer(("<|dummy_0|>", "<|dummy_1|>", "<|dummy_2|>"), eos="<|dummy_1|>")
    setup = set_up_chatml(tokenizer)
    assert (setup.start_token, setup.end_token) == ("<|dummy_0|>", "<|dummy_2|>")


def test_a_known_end_is_kept_and_only_the_start_is_replaced():
    tokenizer = small_tokenizer(("<|endoftext|>", "<|im_end|>", "<unused0>"))
    setup = set_up_chatml(tokenizer)
    assert (setup.start_token, setup.end_token) == ("<unused0>", "<|im_end|>")
    assert setup.trainable_ids == (setup.start_id,)


def test_new_tokens_are_added_where_nothing_is_reserved():
    tokenizer = small_tokenizer(("<|endoftext|>",))
    before = len(tokenizer)
    template = ChatTemplate.from_tokenizer(tokenizer, template="auto")
    setup = template.chatml
    assert setup is not None
    assert setup.new_tokens == ("<|im_start|>", "<|im_end|>")
    assert setup.trainable_ids == (before, before + 1) == (setup.start_id, setup.end_id)
    assert len(tokenizer) == before + 2
    assert template.end_of_turn_ids == {setup.end_id, tokenizer.eos_token_id}
    rendered = template.encode(Conversation((Message("user", "Hello"), Message("assistant", "Hi"))))
    assert rendered.ids.tolist().count(setup.end_id) == 2
    assert rendered.ids[rendered.trained][-1] == setup.end_id


def test_auto_prefers_the_tokenizers_own_template():
    tokenizer = small_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
    assert ChatTemplate.from_tokenizer(tokenizer).chatml is None
    assert ChatTemplate.from_tokenizer(tokenizer).template == tokenizer.chat_template
    assert ChatTemplate.from_tokenizer(tokenizer, template="chatml").chatml is not None


def test_bos_comes_first_where_the_tokenizer_puts_one():
    tokenizer = small_tokenizer(("<bos>", "</s>"), bos="<bos>", eos="</s>", adds_bos=True)
    rendered = ChatTemplate.from_tokenizer(tokenizer, template="chatml").encode(
        Conversation((Message("user", "Hello"), Message("assistant", "Hi")))
    )
    assert rendered.text == "<bos><|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>\n"
    assert rendered.ids.tolist().count(tokenizer.bos_token_id) == 1


def test_thinking_tools_and_calls_are_shown_in_every_turn():
    call = {"function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    tool = {"type": "function", "function": {"name": "get_weather", "description": "Look", "parameters": {}}}
    conversation = Conversation(
        (
            Message("system", "Be brief"),
            Message("user", "Weather?"),
            Message("assistant", "", tool_calls=(call,), thinking="Look it up"),
            Message("tool", "Sunny"),
            Message("assistant", "Sunny", thinking="Easy"),
        ),
        tools=(tool,),
    )
    template = ChatTemplate.from_tokenizer(small_tokenizer(), template="chatml")
    rendered = template.encode(conversation)
    assert rendered.text == (
        "<|im_start|>system\nBe brief\n\nYou can call these functions:\n<tools>\n"
        '{"type": "function", "function": {"name": "get_weather", "description": "Look", "parameters": {}}}\n</tools>\n'
        'To call one, answer with its name and arguments:\n<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call>'
        "<|im_end|>\n<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>assistant\n<think>\nLook it up\n</think>\n\n"
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>tool\nSunny<|im_end|>\n<|im_start|>assistant\n<think>\nEasy\n</think>\n\nSunny<|im_end|>\n"
    )
    assert template.serving_mismatch(conversation) is None
    assert template.num_thinking_tokens_lost(conversation) == 0
