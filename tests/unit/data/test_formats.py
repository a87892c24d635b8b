"""Recognising layouts and converting rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from luthier.data.formats import LAYOUTS, convert, recognise
from luthier.data.sources import Row, read_rows
from luthier.errors import DataError
from luthier.types import Conversation, Document, Message, Source


def rows_of(*values: dict[str, Any]) -> list[Row]:
    return [Row(value, Source("f.jsonl", number)) for number, value in enumerate(values, start=1)]


def only(value: dict[str, Any], **options: Any) -> Conversation | Document:
    rows = rows_of(value)
    converted = convert(rows, recognise(rows, **options))
    assert not converted.problems, converted.problems
    return converted.items[0]


def reason(value: dict[str, Any], **options: Any) -> str:
    rows = rows_of(value)
    converted = convert(rows, recognise(rows, **options))
    assert not converted.items
    (problem,) = converted.problems
    assert problem.rows == (Source("f.jsonl", 1),)
    return problem.message


def spoken(conversation: Conversation | Document) -> list[tuple[str, str]]:
    assert isinstance(conversation, Conversation)
    return [(m.role, m.content) for m in conversation.messages]


ASKED_AND_ANSWERED = [("user", "q"), ("assistant", "a")]
OPENAI = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHAREGPT = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"messages": OPENAI}, "messages"),
        ({"conversations": OPENAI}, "messages"),
        ({"conversations": SHAREGPT}, "sharegpt"),
        ({"messages": SHAREGPT}, "sharegpt"),
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca"),
        ({"instruction": "q", "output": "a"}, "alpaca"),
        ({"prompt": "q", "completion": "a"}, "prompt_completion"),
        ({"prompt": OPENAI[:1], "completion": OPENAI[1:]}, "prompt_completion"),
        ({"instruction": "q", "context": "", "response": "a", "category": "open_qa"}, "dolly"),
        ({"inputs": "q", "targets": "a"}, "flan"),
        ({"question": "q", "answer": "a"}, "question_answer"),
        ({"query": "q", "response": "a"}, "question_answer"),
        ({"input": "q", "output": "a"}, "question_answer"),
        ({"prompt": "q", "response": "a"}, "question_answer"),
        ({"input": OPENAI[:1], "output": "a"}, "question_answer"),
    ],
)
def test_conversation_layouts(value, name):
    assert recognise(rows_of(value)).name == name
    assert spoken(only(value)) == ASKED_AND_ANSWERED


@pytest.mark.parametrize("column", ["text", "content", "document"])
def test_plain_text(column):
    assert only({column: "words"}) == Document("words", Source("f.jsonl", 1))


def test_openai_details():
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
    conversation = only(
        {
            "tools": json.dumps([{"type": "function", "function": {"name": "add"}}]),
            "messages": [
                {"role": "developer", "content": "be brief", "weight": None},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}],
                    "name": "Ann",
                },
                {"role": "assistant", "content": None, "tool_calls": [call], "weight": 0},
                {"role": "tool", "content": "1"},
                {"role": "assistant", "content": "1", "reasoning_content": "easy", "weight": 1.0},
            ],
        }
    )
    assert isinstance(conversation, Conversation)
    read_call = {"type": "function", "function": {"name": "add", "arguments": {"x": 1}}, "id": "c1"}
    assert conversation.messages == (
        Message("system", "be brief"),
        Message("user", "one two", name="Ann"),
        Message("assistant", "", tool_calls=(read_call,), train=False),
        Message("tool", "1"),
        Message("assistant", "1", thinking="easy", train=True),
    )
    assert conversation.tools == ({"type": "function", "function": {"name": "add"}},)


def test_sharegpt_details():
    conversation = only(
        {
            "system": "be brief",
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
                {"from": "observation", "value": "1"},
                {"from": "chatgpt", "value": "a"},
            ],
        }
    )
    assert isinstance(conversation, Conversation)
    assert spoken(conversation) == [
        ("system", "be brief"),
        ("user", "q"),
        ("assistant", ""),
        ("tool", "1"),
        ("assistant", "a"),
    ]
    assert conversation.messages[2].tool_calls == (
        {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}},
    )


def test_alpaca_prompt_and_history():
    value = {"instruction": "Add.", "input": "1 2", "output": "3", "system": "s", "history": [["h", "i"]]}
    assert spoken(only(value)) == [
        ("system", "s"),
        ("user", "h"),
        ("assistant", "i"),
        ("user", "Add.\n\n1 2"),
        ("assistant", "3"),
    ]


@pytest.mark.parametrize(("asked", "answered"), [("instruction", "response"), ("question", "answer")])
def test_a_context_follows_the_question(asked, answered):
    value = {asked: "Who?", "context": "It was Ann.", answered: "Ann"}
    assert spoken(only(value)) == [("user", "Who?\n\nIt was Ann."), ("assistant", "Ann")]
    assert recognise(rows_of(value)).unused == ()


def test_of_several_pairs_the_first_is_read_and_the_rest_is_named():
    row_format = recognise(rows_of({"query": "x", "answer": "a", "question": "q", "response": "y"}))
    assert row_format.name == "question_answer"
    assert row_format.unused == ("query", "response")


@pytest.mark.parametrize("label", [True, False, 1, "false"])
def test_labelled_answers_are_not_imitated(label):
    for value in ({"prompt": "q", "completion": "a"}, {"messages": OPENAI}):
        rows = rows_of({**value, "label": label})
        with pytest.raises(DataError, match="labelled good or bad"):
            recognise(rows)
        insisted = recognise(rows, format="messages" if "messages" in value else "prompt_completion")
        assert insisted.unused == ("label",)


def test_a_text_with_a_class_is_asked_about():
    rows = rows_of({"text": "my card is lost", "label": "lost_card"})
    with pytest.raises(DataError, match=r"\{prompt: text, completion: label\}"):
        recognise(rows)
    assert recognise(rows, format="text").unused == ("label",)
    assert recognise(rows, columns={"prompt": "text", "completion": "label"}).name == "prompt_completion"


def test_a_conversation_without_end_is_a_finding_with_its_place(monkeypatch):
    monkeypatch.setattr("luthier.data.formats.MOST_MESSAGES", 9)
    assert "at most 9 can be one conversation" in reason({"messages": OPENAI * 10})


def test_a_tool_result_keeps_the_call_it_answers():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {}}}
    conversation = only(
        {
            "messages": [
                OPENAI[0],
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "content": "1", "tool_call_id": "c1"},
            ]
        }
    )
    assert isinstance(conversation, Conversation)
    assert conversation.messages[2].tool_call_id == "c1"


def test_prompt_messages_are_context_only():
    earlier = [*OPENAI, {"role": "user", "content": "again"}]
    conversation = only({"prompt": earlier, "completion": "b"})
    assert isinstance(conversation, Conversation)
    assert [m.is_trained for m in conversation.messages] == [False, False, False, True]


def test_columns_are_mapped():
    value = {"question": "q", "answer": "a", "prompt": "other", "text": "t"}
    options = {"columns": {"prompt": "question", "completion": "answer"}}
    assert spoken(only(value, **options)) == ASKED_AND_ANSWERED
    row_format = recognise(rows_of(value), **options)
    assert row_format.name == "prompt_completion"
    assert row_format.unused == ("prompt", "text")
    assert "prompt ← question" in row_format.why


def test_mapping_decides_between_layouts_that_fit():
    value = {"messages": OPENAI, "body": "words"}
    assert only(value, columns={"text": "body"}) == Document("words", Source("f.jsonl", 1))


def test_order_decides_and_is_said():
    row_format = recognise(rows_of({"instruction": "q", "output": "a", "text": "both"}))
    assert row_format.name == "alpaca"
    assert "text would fit too" in row_format.why
    assert " → ".join(LAYOUTS) in row_format.why
    assert row_format.unused == ("text",)


def test_format_insists():
    value = {"instruction": "q", "output": "a", "text": "both"}
    assert only(value, format="text") == Document("both", Source("f.jsonl", 1))
    with pytest.raises(DataError, match="layout 'sharegpt'"):
        recognise(rows_of(value), format="sharegpt")


def test_many_rows_are_looked_at_not_the_first_alone():
    rows = rows_of({"text": "x"}, *[{"prompt": "q", "completion": "a"}] * 3)
    row_format = recognise(rows)
    assert row_format.name == "prompt_completion"
    converted = convert(rows, row_format)
    assert len(converted.items) == 3
    assert [p.rows[0].line for p in converted.problems] == [1]


def test_unknown_columns_teach():
    with pytest.raises(DataError) as caught:
        recognise(rows_of({"Question": "q", "answer": "a", "id": 1}))
    message = str(caught.value)
    assert "Columns found: Question, answer, id" in message
    assert "{prompt: Question, completion: answer}" in message
    for name in LAYOUTS:
        assert name in message


def test_misspelt_column_gets_a_suggestion():
    with pytest.raises(DataError, match="Did you mean 'messages' where the file says 'mesages'"):
        recognise(rows_of({"mesages": OPENAI}))


def test_preference_pairs_are_named():
    for value in (
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"conversations": SHAREGPT[:1], "chosen": {}, "rejected": {}},
    ):
        with pytest.raises(DataError, match="preference"):
            recognise(rows_of(value))


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"promt": "q"}, "did you mean 'prompt'"),
        ({"prompt": "questoin", "completion": "answer"}, "did you mean 'question'"),
        ({"prompt": "question", "text": "answer"}, "no layout has all of the parts"),
    ],
)
def test_wrong_mappings(columns, expected):
    with pytest.raises(DataError, match=expected):
        recognise(rows_of({"question": "q", "answer": "a"}), columns=columns)


def test_unknown_format():
    with pytest.raises(DataError, match="'chatml' is not known"):
        recognise(rows_of({"text": "x"}), format="chatml")


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "empty list"),
        ("[]", "JSON saved as text"),
        ([{"role": "user", "content": "q"}], "no assistant turn"),
        ([{"role": "user", "content": "q"}, {"role": "bot", "content": "a"}], "did you mean 'assistant'"),
        ([{"role": "asistant", "content": "a"}], "did you mean 'assistant'"),
        ([{"role": "user", "content": None}, *OPENAI], r"messages\[0\]: the content is null"),
        ([{"role": "user", "content": 3}, *OPENAI], "found the value 3"),
        ([{"role": "user", "content": [{"type": "image_url"}]}, *OPENAI], "found image_url"),
        ([{"role": "user", "text": "q"}, *OPENAI], "null or missing"),
        ([{"speaker": "x", "role": None}, *OPENAI], "has no 'role'"),
        ([*OPENAI, 3], r"messages\[2\] must be an object"),
        ([OPENAI[0], {**OPENAI[1], "weight": 0}], "weight 0"),
        ([OPENAI[0], {**OPENAI[1], "weight": -0.5}], "must be a number of at least 0, found the value -0.5"),
        ([{**OPENAI[0], "weight": 1}, OPENAI[1]], "only assistant turns"),
        ([OPENAI[0], {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}], "not JSON"),
    ],
)
def test_reasons_for_bad_messages(messages, expected):
    import re

    assert re.search(expected, reason({"messages": messages}, format="messages" if messages else "auto"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"instruction": "", "input": " ", "output": "a"}, "both empty"),
        ({"instruction": "q", "output": 5}, "must be text, found the value 5"),
        ({"instruction": "q", "output": "a", "history": "h"}, "history must be a list"),
        ({"instruction": "q", "output": "a", "history": [["h"]]}, r"history[0] must be a pair"),
        ({"prompt": "  ", "completion": "a"}, "prompt is empty"),
        ({"text": ""}, "text is empty"),
        ({"messages": [{"role": "system", "content": "x"}, *OPENAI], "system": "y"}, "keep one"),
    ],
)
def test_reasons_for_bad_rows(value, expected):
    assert expected in reason(value)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("instruct/llamafactory_demos/alpaca_en_demo.json", "alpaca"),
        ("instruct/llamafactory_demos/glaive_toolcall_en_demo.json", "sharegpt"),
        ("instruct/llamafactory_demos/v1_sft_demo.jsonl", "messages"),
        ("instruct/fastchat_dummy/dummy_conversation.json", "sharegpt"),
        ("instruct/tinker_conversations/conversations.jsonl", "messages"),
        ("instruct/peer_fixtures/alpaca_tiny.json", "alpaca"),
        ("tasks/text2sql_mlx_wikisql/train.jsonl", "text"),
        ("tasks/gsm8k/train.jsonl", "question_answer"),
        ("instruct/peer_fixtures/instruct_tiny.json", "dolly"),
    ],
)
def test_real_files(shared_data, file, name):
    rows = list(read_rows(shared_data / file))
    row_format = recognise(rows)
    converted = convert(rows, row_format)
    assert row_format.name == name
    assert not converted.problems
    assert len(converted.items) == len(rows)


@pytest.mark.parametrize(
    ("file", "mapping"),
    [
        ("tasks/banking77/train.csv", "{prompt: text, completion: category}"),
        ("preference/llamafactory_demos/kto_en_demo.json", "labelled good or bad"),
        ("instruct/peer_fixtures/stack_exchange_paired_tiny.json", "{prompt: question, completion: response_j}"),
        ("derived/wikisql_dev1k.jsonl", "{prompt: question, completion: sql}"),
        ("preference/ultrafeedback_1200/train_clean.jsonl", "{prompt: prompt, completion: chosen}"),
        ("preference/llamafactory_demos/dpo_en_demo.json", "preference"),
    ],
)
def test_real_files_that_need_a_mapping_say_which(shared_data, file, mapping):
    rows = list(read_rows(shared_data / file))
    with pytest.raises(DataError) as caught:
        recognise(rows)
    assert mapping in str(caught.value)
