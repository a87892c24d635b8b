"""Round trips: what is written in a layout and read again is what it was, or what was lost has a name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.formats import MOST_MESSAGES, convert, recognise
from luthier.data.row import Row
from luthier.data.targets import TARGETS, plain_prompt
from luthier.types import Conversation, Message, Source

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | TEXT, lambda inner: st.lists(inner, max_size=2))
CALL = st.builds(
    lambda name, arguments, identity: {
        "type": "function",
        "function": {"name": name, "arguments": arguments},
        **({} if identity is None else {"id": identity}),
    },
    TEXT,
    st.dictionaries(TEXT, JSON, max_size=2),
    st.none() | TEXT,
)


def rarely(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.none(), st.none(), strategy)


@st.composite
def messages(draw: st.DrawFn, role: Any) -> Message:
    calls = draw(rarely(st.lists(CALL, min_size=1, max_size=2))) if role == "assistant" else None
    return Message(
        role,
        draw(TEXT | st.just("")),
        draw(rarely(TEXT)),
        tuple(calls or ()),
        draw(rarely(TEXT)) if role == "assistant" else None,
        draw(rarely(st.booleans())) if role == "assistant" else None,
        draw(rarely(TEXT)) if role == "tool" else None,
    )


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    roles = draw(
        st.sampled_from([["user", "assistant"], ["user", "assistant"] * 2, ["system", "user", "assistant"]])
        | st.lists(st.sampled_from(["system", "user", "assistant", "tool"]), min_size=1, max_size=6)
    )
    spoken = [draw(messages(role)) for role in roles]
    if not any(m.is_trained for m in spoken):
        spoken.append(Message("assistant", draw(TEXT)))
    tools = draw(rarely(st.lists(st.dictionaries(TEXT, TEXT, min_size=1, max_size=2), min_size=1, max_size=2)))
    return Conversation(tuple(spoken), tuple(tools or ()))


def read_back(values: dict[str, Any], layout: str) -> Conversation:
    rows = [Row(json.loads(json.dumps(values)), Source("f", 1))]
    row_format = recognise(rows)
    assert row_format.name == layout
    converted = convert(rows, row_format)
    assert not converted.problems, converted.problems
    (item,) = converted.items
    assert isinstance(item, Conversation)
    return item


def meaning(conversation: Conversation) -> Any:
    """What is said and what is learnt; None and the default of `train` mean the same."""
    return [replace(m, train=m.is_trained) for m in conversation.messages], conversation.tools


def without(conversation: Conversation, lost: tuple[str, ...]) -> Conversation:
    """The conversation less everything that a target may name as lost in a row that it still writes."""
    changes: dict[str, dict[str, Any]] = {
        "names of speakers": {"name": None},
        "reasoning": {"thinking": None},
        "ids of tool calls": {"tool_call_id": None},
        "weights (answers that are not learnt)": {"train": None},
    }
    spoken = conversation.messages
    for what in lost:
        spoken = tuple(replace(m, **changes.get(what, {})) for m in spoken)
        if what == "ids of tool calls":
            bare = [tuple({k: v for k, v in c.items() if k != "id"} for c in m.tool_calls) for m in spoken]
            spoken = tuple(replace(m, tool_calls=calls) for m, calls in zip(spoken, bare, strict=True))
        if what == "text beside a tool call":
            spoken = tuple(replace(m, content="") if m.tool_calls else m for m in spoken)
        if what == "empty system messages":
            spoken = tuple(m for m in spoken if m.role != "system")
        if what == "training of earlier answers":
            last = max(i for i, m in enumerate(spoken) if m.role == "assistant")
            start = next(i for i in range(last, -1, -1) if i == 0 or spoken[i - 1].role not in ("assistant", "tool"))
            spoken = (*(replace(m, train=False) for m in spoken[:start]), *spoken[start:])
    return Conversation(spoken, () if "tools" in lost else conversation.tools)


@pytest.mark.parametrize("layout", TARGETS)
@settings(max_examples=100, deadline=None)
@given(conversation=conversations())
def test_there_and_back_is_the_same_but_for_what_is_named(layout, conversation):
    said = TARGETS[layout].say(conversation)
    if said.values is None:
        assert layout in ("alpaca", "prompt_completion")
        assert said.lost
        return
    assert layout != "messages" or not said.lost
    assert meaning(read_back(said.values, layout)) == meaning(without(conversation, said.lost))
    assert set(said.values) <= set(TARGETS[layout].parts)


@settings(max_examples=100, deadline=None)
@given(conversation=conversations())
def test_plain_prompts_say_the_same_as_messages(conversation):
    said = TARGETS["prompt_completion"].say(conversation)
    plain = plain_prompt(said.values) if said.values is not None else None
    if plain is not None:
        assert said.values is not None
        assert isinstance(plain["prompt"], str)
        assert meaning(read_back(plain, "prompt_completion")) == meaning(read_back(said.values, "prompt_completion"))


ASK, SAY = Message("user", "q"), Message("assistant", "a")
CALLS = ({"type": "function", "id": "c1", "function": {"name": "f", "arguments": {"x": 1}}},)


@pytest.mark.parametrize(
    ("layout", "spoken", "values", "lost"),
    [
        ("alpaca", (ASK, SAY), {"instruction": "q", "input": "", "output": "a"}, ()),
        (
            "alpaca",
            (Message("system", "s"), ASK, SAY, ASK, SAY),
            {"instruction": "q", "input": "", "output": "a", "system": "s", "history": [["q", "a"]]},
            (),
        ),
        ("alpaca", (ASK, ASK, SAY), None, ("rows that are not questions and answers in turn",)),
        (
            "sharegpt",
            (ASK, SAY),
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            (),
        ),
        (
            "sharegpt",
            (ASK, Message("assistant", "", tool_calls=CALLS), Message("tool", "1", tool_call_id="c1"), SAY),
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
                    {"from": "observation", "value": "1"},
                    {"from": "gpt", "value": "a"},
                ]
            },
            ("ids of tool calls",),
        ),
        (
            "messages",
            (ASK, Message("assistant", "a", thinking="t", train=False, tool_calls=CALLS), SAY),
            {
                "messages": [
                    {"role": "user", "content": "q"},
                    {
                        "role": "assistant",
                        "content": "a",
                        "reasoning_content": "t",
                        "tool_calls": [
                            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
                        ],
                        "weight": 0,
                    },
                    {"role": "assistant", "content": "a"},
                ]
            },
            (),
        ),
        (
            "prompt_completion",
            (ASK, SAY, ASK, SAY),
            {
                "prompt": [
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                    {"role": "user", "content": "q"},
                ],
                "completion": [{"role": "assistant", "content": "a"}],
            },
            ("training of earlier answers",),
        ),
    ],
)
def test_rows_by_hand(layout, spoken, values, lost):
    said = TARGETS[layout].say(Conversation(spoken))
    assert said.values == values
    assert said.lost == lost
    assert len(spoken) < MOST_MESSAGES
