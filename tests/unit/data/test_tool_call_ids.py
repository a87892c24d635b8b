"""A tool's result answers the call that it names; without a name, the calls in their order."""

from __future__ import annotations

import pytest

from luthier.data.template import ChatTemplate
from luthier.types import Conversation, Message
from tests.tiny import tiny_tokenizer

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
    "{% for call in m.tool_calls or [] %}{{ call.function.name }}:{{ call.id }}{% endfor %}"
    "{% if m.role == 'tool' %}({{ m.tool_call_id }}){% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize(
    ("named", "expected"),
    [(("b", "a"), ("1(b)", "2(a)")), ((None, None), ("1(a)", "2(b)")), (("b", None), ("1(b)", "2(a)"))],
)
def test_results_out_of_order(named, expected):
    calls = tuple({"type": "function", "id": i, "function": {"name": "f", "arguments": {}}} for i in ("a", "b"))
    conversation = Conversation(
        (
            Message("user", "q"),
            Message("assistant", "", tool_calls=calls),
            Message("tool", "1", tool_call_id=named[0]),
            Message("tool", "2", tool_call_id=named[1]),
            Message("assistant", "done"),
        )
    )
    text = ChatTemplate.from_tokenizer(tiny_tokenizer(), template=TEMPLATE).encode(conversation).text
    for part in expected:
        assert part in text
