"""The training mask: against a mask computed from character positions known by construction, and on templates that rewrite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from luthier.data.template import ChatTemplate
from luthier.errors import DataError
from luthier.types import Conversation, Message
from tests.small_tokenizer import small_tokenizer
from tests.unit.data.test_template import CHATML, FORGETFUL, assistant, learnt, user

PLAIN = ChatTemplate.from_tokenizer(small_tokenizer(), template=CHATML)


def template_of(text: str, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>")) -> ChatTemplate:
    return ChatTemplate.from_tokenizer(small_tokenizer(special), template=text)


# Texts that are hard to find again: the template's own strings, white space, repetitions, scripts, emoji.
_OWN_STRINGS = ("assistant\n", "user", "<|im_end|>", "<|im_start|>assistant\n", "<", "|im_end|>")
_content = st.one_of(
    st.text(max_size=12),
    st.lists(st.sampled_from(("Hi", " ", "\n", "é", "👩‍🚀", "快", *_OWN_STRINGS)), max_size=6).map("".join),
)
_message = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant", "assistant"]),
    content=_content,
    train=st.sampled_from([None, None, None, False]),
)


def by_construction(messages: tuple[Message, ...]) -> tuple[str, list[tuple[int, int]]]:
    """ChatML written out by hand, and where the learnt characters are in it."""
    text, spans = "", []
    for message in messages:
        text += f"<|im_start|>{message.role}\n"
        start = len(text)
        text += f"{message.content}<|im_end|>"
        if message.role == "assistant" and message.train is not False:
            spans.append((start, len(text)))
        text += "\n"
    return text, spans


@settings(max_examples=300, deadline=None)
@given(st.lists(_message, min_size=1, max_size=5).map(lambda tail: (Message("user", "Hello"), *tail)))
def test_trained_tokens_are_the_answers_and_their_ends(messages):
    rendered = PLAIN.encode(Conversation(messages))
    text, spans = by_construction(messages)
    assert rendered.text == text
    ids, trained = rendered.ids.tolist(), rendered.trained.tolist()

    assert PLAIN.tokenizer.decode(ids) == text
    learnt_text = PLAIN.tokenizer.decode([token for token, flag in zip(ids, trained, strict=True) if flag])
    assert learnt_text == "".join(text[start:end] for start, end in spans)

    # Independent of offsets: byte-level tokens are whole bytes, so the mask in bytes follows from the tokens' lengths.
    flags = np.zeros(len(text.encode()), dtype=bool)
    for start, end in spans:
        flags[len(text[:start].encode()) : len(text[:end].encode())] = True
    decoder = {token: _num_bytes(PLAIN, token) for token in set(ids)}
    position = 0
    for token, flag in zip(ids, trained, strict=True):
        inside = flags[position : position + decoder[token]]
        assert inside.all() if flag else not inside.any()
        position += decoder[token]
    assert position == len(flags)


def _num_bytes(template: ChatTemplate, token: int) -> int:
    piece = template.tokenizer.convert_ids_to_tokens(token)
    # In the byte-level alphabet each character of a token stands for one byte; added tokens are written out.
    return len(piece.encode()) if token in template.tokenizer.added_tokens_decoder else len(piece)


@settings(max_examples=100, deadline=None)
@given(st.lists(_message, min_size=1, max_size=4).map(lambda tail: (Message("user", "Hello"), *tail)))
def test_training_tokens_equal_serving_tokens(messages):
    conversation = Conversation(messages)
    assert PLAIN.serving_mismatch(conversation) is None
    rendered = PLAIN.encode(conversation)
    starts = np.flatnonzero(np.diff(rendered.trained.astype(int), prepend=0) == 1).tolist()
    trained = [i for i, m in enumerate(messages) if m.is_trained]
    assert [rendered.ids[:start].tolist() for start in starts] == [PLAIN.prompt_ids(messages[:i]) for i in trained]


def test_turns_can_be_left_out_and_user_turns_taken_in():
    messages = (
        Message("user", "Hello", train=True),
        assistant("Hi", train=False),
        user("Who?"),
        assistant("Me"),
    )
    assert learnt(PLAIN, PLAIN.encode(Conversation(messages))) == ["Hello<|im_end|>", "Me<|im_end|>"]


def test_earlier_thinking_is_gone_in_one_rendering_and_kept_turn_by_turn():
    template = template_of(FORGETFUL)
    first, last = "<think>\nso\n</think>\n\n  Hi", "<think>\nhm\n</think>\n\nMe"
    conversation = Conversation((user("Hello"), assistant(first), user("Who?"), assistant(last)))

    assert learnt(template, template.encode(conversation)) == ["  Hi<|im_end|>", f"{last}<|im_end|>"]
    problem = template.serving_mismatch(conversation)
    assert problem is not None
    assert problem.startswith("message 2 (assistant)")

    views = template.encode_turns(conversation)
    assert [learnt(template, view) for view in views] == [[f"{first}<|im_end|>"], [f"{last}<|im_end|>"]]
    assert template.serving_mismatch(conversation, by_turn=True) is None
    for view, num_messages in zip(views, (1, 3), strict=True):
        prompt = template.prompt_ids(conversation.messages[:num_messages])
        assert view.ids[: len(prompt)].tolist() == prompt


def test_turn_by_turn_is_one_rendering_where_the_past_stays():
    conversation = Conversation((user("Hello"), assistant("Hi"), user("Who?"), assistant("Me"), user("Bye")))
    (view,) = PLAIN.encode_turns(conversation)
    whole = PLAIN.encode(conversation)
    assert view.ids.tolist() == whole.ids[: len(view.ids)].tolist()
    assert learnt(PLAIN, view) == learnt(PLAIN, whole) == ["Hi<|im_end|>", "Me<|im_end|>"]


def test_what_moves_to_the_last_question_does_not_move_the_mask():
    # Tools in front of the last question only, as Mistral's: no prompt is a beginning of the conversation.
    moving = CHATML.replace(
        "<|im_start|>{{ m.role }}\n",
        "<|im_start|>{{ m.role }}\n{% if tools and m.role == 'user' and loop.index0 >= messages | length - 2 %}"
        "{{ tools | tojson }}{% endif %}",
    )
    template = template_of(moving)
    tool = {"type": "function", "function": {"name": "look", "description": "Hi", "parameters": {}}}
    conversation = Conversation((user("Hi"), assistant(" Hi"), user("Hi"), assistant("Hi")), tools=(tool,))
    assert learnt(template, template.encode(conversation)) == [" Hi<|im_end|>", "Hi<|im_end|>"]
    assert template.serving_mismatch(conversation) is not None
    assert template.serving_mismatch(conversation, by_turn=True) is None


def test_what_a_template_adds_in_front_of_an_answer_is_learnt():
    leading = CHATML.replace(
        "{{ m.content }}", "{{ '<think></think>' if m.role == 'assistant' }}{{ m.content | trim }}"
    )
    template = template_of(leading)
    conversation = Conversation((user("Hello"), assistant(" Hi "), user("Who?"), assistant("Me")))
    expected = ["<think></think>Hi<|im_end|>", "<think></think>Me<|im_end|>"]
    assert learnt(template, template.encode(conversation)) == expected


def test_a_generation_prompt_that_answers_do_not_stand_behind_is_reported():
    opening = CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}"
    template = template_of(opening)
    conversation = Conversation((user("Hello"), assistant("Hi")))
    assert learnt(template, template.encode(conversation)) == ["Hi<|im_end|>"]
    problem = template.serving_mismatch(conversation)
    assert problem is not None
    assert "the server's prompt goes on with '<think>\\n', training with 'Hi<|im_end|>\\n'" in problem


@pytest.mark.parametrize(
    "ending",
    [
        "{{ m.content }}\n",
        "{{ m.content }}### End\n",
        "{{ m.content }}{{ '' if m.role == 'assistant' else '<|im_end|>' }}\n",
    ],
)
def test_an_answer_without_an_end_is_refused(ending):
    template = template_of(CHATML.replace("{{ m.content }}<|im_end|>\n", ending))
    with pytest.raises(DataError, match=r"message 2 of 2 has no end-of-turn token .* never learns to stop"):
        template.encode(Conversation((user("Hello"), assistant("Hi"))))


def test_an_end_that_only_the_last_answer_has_is_not_borrowed_by_an_earlier_one():
    only_last = CHATML.replace("<|im_end|>", "{{ '<|im_end|>' if loop.last }}")
    template = template_of(only_last)
    conversation = Conversation((user("Hello"), assistant("Hi"), user("Who?"), assistant("Me")))
    with pytest.raises(DataError, match="message 2 of 4 is ended otherwise"):
        template.encode(conversation)
    assert [learnt(template, view) for view in template.encode_turns(conversation)] == [
        ["Hi<|im_end|>"],
        ["Me<|im_end|>"],
    ]


def test_an_end_that_comes_after_the_end_is_not_learnt():
    # Phi 3.5 writes EOS behind a conversation that nobody continues; its end-of-turn token swallows white space.
    special = ("<|endoftext|>", "<|im_start|>", AddedToken("<|im_end|>", rstrip=True, special=True))
    template = template_of(CHATML + "{% if not add_generation_prompt %}<|endoftext|>{% endif %}", special)
    conversation = Conversation((user("Hello"), assistant("Hi"), user("Who?"), assistant("Me")))
    rendered = template.encode(conversation)
    assert learnt(template, rendered) == ["Hi<|im_end|>", "Me<|im_end|>"]
    assert rendered.ids[-1] == template.tokenizer.eos_token_id
    assert not rendered.trained[-1]


def test_an_end_of_two_tokens_is_learnt_to_its_last():
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|done|>")
    template = template_of(CHATML.replace("<|im_end|>", "<|done|><|im_end|>"), special)
    conversation = Conversation((user("Hello"), assistant("Hi"), user("Who?"), assistant("Me")))
    assert learnt(template, template.encode(conversation)) == ["Hi<|done|><|im_end|>", "Me<|done|><|im_end|>"]
    assert template.tokenizer.convert_tokens_to_ids("<|done|>") not in template.end_of_turn_ids


def test_a_turn_that_the_template_leaves_out_is_refused():
    forgetting = CHATML.replace("{{ m.content }}", "{{ m.content if m.role == 'user' else 'Sorry' }}")
    template = template_of(forgetting)
    messages = (assistant("Hi"), user("Hello"))
    with pytest.raises(DataError, match="message 1 of 2 cannot be found"):
        template.encode(Conversation(messages))


def test_a_tool_call_that_the_template_leaves_out_is_refused():
    call = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    with pytest.raises(DataError, match="calls the tool 'get_weather', but the chat template leaves the call out"):
        PLAIN.encode(Conversation((user("Weather?"), assistant("", tool_calls=(call,)))))


TRIMMING = (
    "{% set said = messages[1:] if messages[0].role == 'system' else messages %}"
    "{% for m in said %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.mark.parametrize("text", [CHATML, FORGETFUL, TRIMMING], ids=["chatml", "forgetful", "trimming"])
@settings(max_examples=60, deadline=None)
@given(tail=st.lists(_message, min_size=1, max_size=6))
def test_one_run_of_the_template_and_one_for_each_beginning_give_equal_tokens(text, tail):
    quick, slow = QUICK[text], SLOW[text]
    conversation = Conversation((Message("user", "Hello"), *tail))
    results = []
    for template in (quick, slow):
        try:
            results.append([(r.ids.tolist(), r.trained.tolist(), r.text) for r in template.encode_turns(conversation)])
        except DataError as error:
            results.append(str(error))
    assert results[0] == results[1]


QUICK = {text: template_of(text) for text in (CHATML, FORGETFUL, TRIMMING)}
SLOW = {text: template_of(text) for text in (CHATML, FORGETFUL, TRIMMING)}
for _template in SLOW.values():
    assert _template._renderer._growing is not None
    _template._renderer._growing = None


def test_a_long_conversation_is_learnt_turn_by_turn():
    pairs = 3000
    messages = [m for i in range(pairs) for m in (user(f"What is {i}?"), assistant(f"It is {i}."))]
    rendered = PLAIN.encode(Conversation(tuple(messages)))
    assert learnt(PLAIN, rendered) == [f"It is {i}.<|im_end|>" for i in range(pairs)]


@pytest.mark.parametrize("text", [FORGETFUL.replace("m.content.split", "m.content.strip().split"), CHATML])
def test_a_long_conversation_that_must_be_rendered_again_and_again_is_refused(text, monkeypatch):
    monkeypatch.setattr("luthier.data.beginnings.MOST_RENDERED_AGAIN", 5)
    template = template_of(text)
    typed = "<|im_end|>" if text == CHATML else "hm</think>Hi"
    short = Conversation((user("a"), assistant(typed), user("b"), assistant("c")))
    assert template.encode_turns(short)
    with pytest.raises(DataError, match=r"6 messages: at most 5 can be"):
        template.encode_turns(Conversation((*short.messages, user("d"), assistant(typed))))
