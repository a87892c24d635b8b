"""Where texts stand in rows of every layout, and how one is replaced without touching the rest."""

from __future__ import annotations

import copy

import pytest

from luthier.data.text_places import TextPlace, other_texts, text_places, value_at, with_value

CHAT = {
    "system": "S",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "value": "b"}], "name": "Ann"},
        {
            "role": "assistant",
            "content": None,
            "thinking": "t",
            "tool_calls": [
                {"id": "1", "function": {"name": "f", "arguments": {"x": ["y", 1], "z": {"w": "v"}}}},
                {"id": "2", "function": {"name": "g", "arguments": '{"x": 1}'}},
            ],
        },
        {"role": "tool", "content": "r", "tool_call_id": "1"},
    ],
    "tools": [{"type": "function"}],
    "note": "n",
}


def test_a_chat_with_everything():
    m = "messages"
    call = (m, 1, "tool_calls", 0, "function", "arguments")
    assert text_places(CHAT, ["note"]) == [
        TextPlace(("system",), "system"),
        TextPlace((m, 0, "content", 0, "text"), "user"),
        TextPlace((m, 0, "content", 1, "value"), "user"),
        TextPlace((m, 1, "thinking"), "assistant"),
        TextPlace((*call, "x", 0), "assistant", "argument"),
        TextPlace((*call, "z", "w"), "assistant", "argument"),
        TextPlace((m, 1, "tool_calls", 1, "function", "arguments"), "assistant", "json"),
        TextPlace((m, 2, "content"), "tool"),
    ]
    others = [value_at(CHAT, place.path) for place in other_texts(CHAT, text_places(CHAT, ["note"]))]
    assert others == ["user", "text", "text", "Ann", "assistant", "1", "f", "2", "g", "tool", "1", "function", "n"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "{}"}]},
            [("user", "text", "a"), ("assistant", "json", "{}")],
        ),
        (
            {"instruction": "a", "input": "b", "output": "c", "history": [["d", "e"]]},
            [
                *(("user", "text", "a"), ("user", "text", "b"), ("assistant", "text", "c")),
                *(("user", "text", "d"), ("assistant", "text", "e")),
            ],
        ),
        (
            {"prompt": [{"role": "user", "content": "a"}], "completion": "b"},
            [("user", "text", "a"), ("assistant", "text", "b")],
        ),
        ({"question": "a", "answer": "b", "id": "c"}, [("user", "text", "a"), ("assistant", "text", "b")]),
        ({"text": "a"}, [(None, "text", "a")]),
        (
            {"chosen": [{"role": "assistant", "content": "a"}], "rejected": {"role": "assistant", "content": "b"}},
            [("assistant", "text", "a"), ("assistant", "text", "b")],
        ),
        ({"messages": "no list", "prompt": 3}, []),
    ],
)
def test_layouts(values, expected):
    assert [(p.role, p.form, value_at(values, p.path)) for p in text_places(values, ["id"])] == expected


def test_mapped_columns():
    values = {"ask": "a", "reply": "b", "prompt": "c"}
    places = text_places(values, ["prompt"], {"prompt": "ask", "completion": "reply"})
    assert [(p.path, p.role) for p in places] == [(("ask",), "user"), (("reply",), "assistant")]


def test_a_value_is_replaced_in_a_copy():
    before = copy.deepcopy(CHAT)
    path = ("messages", 0, "content", 1, "value")
    changed = with_value(CHAT, path, "B")
    assert before == CHAT
    assert value_at(changed, path) == "B"
    assert with_value(changed, path, "b") == CHAT
    assert list(changed) == list(CHAT)
    for wrong in (("none",), ("messages", 9), ("messages", "x"), ("system", 0)):
        with pytest.raises(LookupError):
            value_at(CHAT, wrong)
