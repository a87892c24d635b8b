"""JSON that was asked for, calls of tools, and counters."""

from __future__ import annotations

import json

import pytest
from tests.tiny import tiny_tokenizer

from luthier.serve.metrics import Metrics
from luthier.serve.refusal import RefusedError
from luthier.serve.response_format import read_response_format
from luthier.serve.tool_calls import knows_tools, read_calls

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def schema(value: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": value}}


def test_json_that_fits_passes() -> None:
    read_response_format({"type": "json_object"}).check('{"a": 1}\n')  # pyright: ignore[reportOptionalMemberAccess]
    read_response_format(schema(PERSON)).check('{"age": 3}')  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ({"type": "json_object"}, "Here it is: {}"),
        ({"type": "json_object"}, "[1]"),
        ({"type": "json_object"}, '{"a": 1'),
        (schema(PERSON), '{"age": "three"}'),
        (schema(PERSON), "{}"),
    ],
)
def test_json_that_does_not_is_refused(format: dict[str, object], text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read_response_format(format).check(text)  # pyright: ignore[reportOptionalMemberAccess]
    assert (refused.value.status, refused.value.code) == (422, "response_format_not_met")


@pytest.mark.parametrize(
    "value", [{"type": "no such"}, {"pattern": "(a+)+$"}, {"properties": {"x": {"pattern": "a"}}}, 3]
)
def test_schemas_that_cannot_be_used(value: object) -> None:
    with pytest.raises(RefusedError) as refused:
        read_response_format(schema(value))
    assert refused.value.status == 400


def test_a_schema_never_fetches_anything() -> None:
    format = read_response_format(schema({"$ref": "http://127.0.0.1:9/schema.json"}))
    with pytest.raises(RefusedError, match="cannot be used"):
        format.check("{}")  # pyright: ignore[reportOptionalMemberAccess]


def test_calls_between_marks() -> None:
    text = 'Let me look.\n<tool_call>\n{"name": "look", "arguments": {"where": "é"}}\n</tool_call>'
    said = read_calls(text, {"look"})
    assert said.text == "Let me look."
    (call,) = said.calls
    assert call["type"] == "function"
    assert call["function"]["name"] == "look"
    assert json.loads(call["function"]["arguments"]) == {"where": "é"}


def test_a_call_that_is_the_whole_answer() -> None:
    said = read_calls('{"name": "look", "parameters": {}}', {"look"})
    assert said.text == ""
    assert said.calls[0]["function"] == {"name": "look", "arguments": "{}"}


@pytest.mark.parametrize(
    "text",
    ["Hello", '<tool_call>{"name": "other", "arguments": {}}</tool_call>', "<tool_call>no JSON</tool_call>",
     '{"name": "look", "parameters": 3}', '{"name": "look"'],
)  # fmt: skip
def test_what_is_no_call_stays_text(text: str) -> None:
    assert read_calls(text, {"look"}) == (text, [])


def test_templates_that_take_tools() -> None:
    assert knows_tools("{%- if tools %}x{% endif %}")
    assert knows_tools("{{ tools | tojson }}")
    assert not knows_tools("You have tools. {{ messages }}")
    assert not knows_tools(tiny_tokenizer().chat_template)


def test_counters_are_cumulated_and_escaped() -> None:
    metrics = Metrics()
    metrics.request("/v1/models", 200)
    metrics.request("/v1/models", 200)
    metrics.answered('a"\n\\', 3, 4, 0.3)
    lines = metrics.text({"luthier_slots": ("Slots.", 16)}).splitlines()
    assert 'luthier_requests_total{route="/v1/models",status="200"} 2' in lines
    assert 'luthier_answer_tokens_total{model="a\\"\\n\\\\"} 4' in lines
    assert 'luthier_answer_seconds_bucket{le="0.25"} 0' in lines
    assert 'luthier_answer_seconds_bucket{le="0.5"} 1' in lines
    assert 'luthier_answer_seconds_bucket{le="+Inf"} 1' in lines
    assert "luthier_slots 16" in lines
