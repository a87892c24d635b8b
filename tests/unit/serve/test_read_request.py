"""Requests are read completely: every field is used, or refused with its name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.serve.fields import parse_object
from luthier.serve.limits import Limits
from luthier.serve.read_request import read_chat, read_completion
from luthier.serve.refusal import RefusedError
from luthier.types import Message

LIMITS = Limits(output_tokens=50, choices=4)
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def test_a_full_chat() -> None:
    wish = read_chat(
        CHAT
        | {
            "n": 2,
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": -3,
            "stop": "END",
            "stream": True,
        }
        | {"stream_options": {"include_usage": True}, "logprobs": True, "top_logprobs": 5, "tools": [TOOL], "user": "x"}
        | {"presence_penalty": 0, "logit_bias": None, "response_format": {"type": "text"}},
        LIMITS,
    )
    s = wish.settings
    assert wish.messages == (Message("user", "hi"),)
    assert wish.tools == (TOOL,)
    assert wish.format is None
    assert (s.model, s.num_answers, s.max_tokens, s.temperature, s.top_p, s.seed) == ("m", 2, 9, 0.5, 0.9, -3)
    assert (s.stops, s.stream, s.stream_usage, s.num_likeliest) == (("END",), True, True, 5)


def test_the_least() -> None:
    s = read_chat(CHAT, LIMITS).settings
    assert (s.num_answers, s.max_tokens, s.temperature, s.seed, s.stops, s.stream) == (1, None, None, None, (), False)
    assert s.num_likeliest is None
    assert read_chat(CHAT | {"logprobs": True}, LIMITS).settings.num_likeliest == 0
    assert read_chat(CHAT | {"tools": [TOOL], "tool_choice": "none"}, LIMITS).tools == ()


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages"),
        ({"max_tokens": 51}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"n": 5}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": 10**400}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": 5}, "stop"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"name": "look"}]}, "tools"),
        ({"functions": []}, "functions"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": "json_schema"}, "response_format"),
        ({"response_format": {}}, "response_format"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_chat(CHAT | change, LIMITS)
    assert (refused.value.status, refused.value.param) == (400, param)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("hi", ("hi",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_prompts(prompt: Any, expected: Any) -> None:
    assert read_completion({"model": "m", "prompt": prompt}, LIMITS).prompts == expected


@pytest.mark.parametrize("prompt", [None, [], [[]], [-1], [True], ["a", 1], {"a": 1}, [2**40], ["a"] * 5])
def test_no_prompts(prompt: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        read_completion({"model": "m", "prompt": prompt}, LIMITS)
    assert refused.value.param == "prompt"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"a": NaN}', b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a":' * 50_000,
     b'{"a": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_bodies_that_are_no_object(body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_object(body)
    assert refused.value.status == 400


WORDS = ("json_schema", "json_object", "text", "function", "user", "auto")
KEYS = ("type", "schema", "json_schema", "role", "content", "function", "name", "tool_calls")
SIMPLE = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
JSON = st.recursive(
    SIMPLE | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    *("messages", "model", "tools", "tool_choice", "response_format", "stop", "stream", "stream_options", "n", "seed"),
    *("temperature", "top_p", "logprobs", "top_logprobs", "max_tokens", "logit_bias", "functions", "prompt", "best_of"),
)


@given(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
@settings(deadline=None)
def test_anything_is_read_or_refused(change: dict[str, Any]) -> None:
    for read, body in ((read_chat, CHAT | change), (read_completion, {"model": "m", "prompt": "x"} | change)):
        found: Any = None
        try:
            found = read(body, LIMITS).settings.model
        except RefusedError as refusal:
            found = refusal.status
        assert found == body["model"] or found in range(400, 500)
