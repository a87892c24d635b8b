"""What a look at the rendering finds, with the real chat template; the cost does not grow with the data."""

from __future__ import annotations

from luthier.data import findings
from luthier.data.template import ChatTemplate
from luthier.types import Conversation, Message, Source
from tests.small_tokenizer import small_tokenizer
from tests.unit.data.test_template import CHATML, FORGETFUL

MARKED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}<|im_end|>{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def chat(question: str, answer: str, line: int = 1, thinking: str | None = None) -> Conversation:
    turns = (Message("user", question), Message("assistant", answer, thinking=thinking))
    return Conversation(turns, source=Source("f.jsonl", line))


def look(template: str, *rows: Conversation, num_rewritten: int = 0) -> dict[str, str]:
    made = ChatTemplate.from_tokenizer(small_tokenizer(), template=template)
    return {f.rule: f.message for f in findings.look_at_rendering(rows, made, num_rewritten)}


def test_plain_rows_give_no_finding():
    assert look(CHATML, chat("Hello", "Hi"), chat("a < b |> c", "<think>hm</think>ok")) == {}


def test_a_thinking_field_that_the_template_does_not_know_is_lost():
    found = look(CHATML, chat("Hello", "Hi", thinking="so it is"), chat("Hello", "Hi"))
    assert "1 of 1 rows" in found["thinking_lost"]


def test_thinking_that_each_turn_keeps_in_its_own_example_is_not_lost():
    turns = (
        Message("user", "Hello"),
        Message("assistant", "<think>so</think>Hi"),
        Message("user", "Who?"),
        Message("assistant", "<think>hm</think>Me"),
    )
    assert look(FORGETFUL, Conversation(turns)) == {}
    assert "1 rows became several examples" in look(FORGETFUL, Conversation(turns), num_rewritten=1)["past_rewritten"]


def test_markers_that_leave_the_end_of_turn_out_are_noted():
    assert "leave out '<|im_end|>'" in look(MARKED, chat("Hello", "Hi"))["generation_markers_differ"]


def test_only_some_rows_are_rendered_again():
    template = ChatTemplate.from_tokenizer(small_tokenizer(), template=MARKED)
    seen: list[int] = []
    original = template.marker_mismatch

    def counting(conversation: Conversation) -> str | None:
        assert conversation.source is not None
        seen.append(conversation.source.line)
        return original(conversation)

    template.marker_mismatch = counting  # type: ignore[method-assign]
    findings.look_at_rendering([chat("Hello", "Hi", line) for line in range(2001)], template, 0)
    assert 100 <= len(seen) <= 200
    assert seen[0] == 0
    assert seen[-1] > 1900
