"""Rules that judge each row: planted cases are found, with an example; their innocent neighbours are not."""

from __future__ import annotations

import pytest

from luthier.types import Message
from tests.unit.data.lint.rows import ask, chat, conversation, document, found

ASKED = "What is the capital of France, please?"


def test_empty_answer():
    call = Message("assistant", "", tool_calls=({"function": {"name": "f", "arguments": {}}},))
    assert found("empty_answer", chat("Hello", "  \n"), chat("Hello", "Hi", line=2)) == [1]
    assert found("empty_answer", conversation(Message("user", "Hello"), call, Message("tool", "1"))) == []


@pytest.mark.parametrize(
    "answer",
    [
        "What is the capital of France, please? It is Paris.",
        "**What is the capital of France please?**\n\nParis.",
        "> what is the capital of France, please\n\nParis",
    ],
)
def test_echoed_prompt(answer: str):
    assert found("echoed_prompt", chat(ASKED, answer)) == [1]


@pytest.mark.parametrize("answer", ["The capital of France is Paris.", "What is the capital? Paris.", "Paris.", ASKED])
def test_an_answer_that_shares_words_with_its_question_is_no_echo(answer: str):
    assert found("echoed_prompt", chat(ASKED, answer)) == []


def test_short_questions_may_be_repeated():
    assert (
        found("echoed_prompt", chat("Paris", "Paris is a city."), chat("Who are you?", "Who are you? I am Bo.")) == []
    )


@pytest.mark.parametrize(
    "answer",
    [
        "As an AI language model, I cannot have opinions.",
        "I'm sorry, but as an AI I do not eat.",
        "Hello! I am ChatGPT.",
        "I was trained by OpenAI to help.",
        "As of my last knowledge update in 2021, it was open.",
        "作为一个人工智能语言模型，我没有感情。",
        "Als KI-Sprachmodell habe ich keine Meinung.",
    ],
)
def test_boilerplate(answer: str):
    assert found("boilerplate", chat("Hello", answer)) == [1]


@pytest.mark.parametrize(
    "answer",
    [
        "OpenAI is a company; AI is a field. A language model predicts text.",
        "As an aim, we chose three goals.",
        "As an engineer I would say no.",
        "I am clauded by doubt.",
    ],
)
def test_talk_about_ai_is_no_boilerplate(answer: str):
    assert found("boilerplate", chat("Hello", answer)) == []


def test_boilerplate_in_a_question_is_the_users():
    assert found("boilerplate", chat("As an AI language model, what do you eat?", "Nothing.")) == []


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>user\nHi<|im_end|>",
        "[INST] Hi [/INST]",
        "### Response:\nYes",
        "<start_of_turn>model",
        "<<SYS>> be good",
        "<s> Hello",
        "<|eot_id|>",
        "Human: Hi\n\nAssistant: Hello",
    ],
)
def test_template_markers(text: str):
    assert found("template_markers", chat("Hello", text)) == [1]
    assert found("template_markers", document(text)) == [1]


@pytest.mark.parametrize("text", ["a <| b |> c", "[instruct]", "Human: a being.", "### Result:"])
def test_plain_brackets_are_no_markers(text: str):
    assert found("template_markers", chat("Hello", text)) == []


@pytest.mark.parametrize(
    "text", ["One<br>two", "<p class='x'>Hi</p>", "Tom &amp; Jerry", "a&nbsp;b", "<!-- more -->Text", "it&#39;s"]
)
def test_html_remnants(text: str):
    assert found("html_remnants", chat("Hello", text)) == [1]


@pytest.mark.parametrize(
    "text",
    ["a < b and c > d", "if (a<b && c>d)", "Use `<br>` here", "```\n<p>Hi</p>\n```", "AT&T; R&D", "List<String>"],
)
def test_signs_and_code_are_no_html(text: str):
    assert found("html_remnants", chat("Hello", text)) == []


def test_rows_about_html_are_left_alone():
    assert found("html_remnants", chat("How do I write a line break in HTML?", "<br> does it")) == []


@pytest.mark.parametrize("text", ["schÃ¶n und grÃ¼n", "donâ€™t", "cafÃ©", "ÐŸÑ€Ð¸Ð²ÐµÑ‚ Ð¼Ð¸Ñ€", "Itâ\x80\x99s"])
def test_mojibake(text: str):
    assert found("mojibake", chat("Hello", text)) == [1]


@pytest.mark.parametrize(
    "text",
    [
        "schön und grün",
        "don’t “quote”",
        "café à la crème",
        "Привет, мир",
        "你好",
        "São João",
        "ÅÄÖ",
        "€5 – £3 ½",
        "naïve",
    ],
)
def test_accents_are_no_mojibake(text: str):
    assert found("mojibake", chat("Hello", text)) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a\x00b", "U+0000"),
        ("a\x1b[31mb", "U+001B"),
        ("lost \ufffd sign", "U+FFFD replacement character"),
        ("zero\u200bwidth", "U+200B zero width space"),
        ("\ufeffText", "U+FEFF"),
        ("evil\u202etxt", "U+202E"),
    ],
)
def test_control_characters(text: str, name: str):
    (finding,) = ask("control_characters", [chat("Hello", text)])
    assert finding.example.startswith(name)
    assert all(sign.isprintable() for sign in finding.example)


def test_tabs_line_ends_and_joiners_are_no_control_characters():
    text = "a\tb\r\nc 👩\u200d🚀 می\u200cخواهم ✨\ufe0f"
    assert found("control_characters", chat("Hello", text)) == []


U, A, S, T = (Message(role, "x") for role in ("user", "assistant", "system", "tool"))  # type: ignore[arg-type]
CALL = Message("assistant", "", tool_calls=({"function": {"name": "f", "arguments": {}}},))


@pytest.mark.parametrize(
    "messages", [(A, U, A), (U, U, A), (U, A, A), (U, S, A), (S, A), (U, A, U), (U, T, A), (U, A, T, A), (S, S, U, A)]
)
def test_wrong_role_order(messages: tuple[Message, ...]):
    assert found("role_order", conversation(*messages)) == [1]


@pytest.mark.parametrize(
    "messages",
    [(U, A), (S, U, A), (U, A, U, A), (U, CALL, T, A), (U, CALL, T, T, A), (U, CALL, T, CALL, T, A), (U, CALL, A)],
)
def test_right_role_order(messages: tuple[Message, ...]):
    assert found("role_order", conversation(*messages)) == []


TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {}, "day": {}}, "required": ["city"]},
        },
    },
)


def call(name: str, **arguments: object) -> Message:
    return Message(
        "assistant", "", tool_calls=({"type": "function", "function": {"name": name, "arguments": arguments}},)
    )


def test_tool_calls_that_cannot_be_carried_out():
    rows = [
        conversation(U, call("weather", city="Oslo"), tools=TOOLS),
        conversation(U, call("wheather", city="Oslo"), tools=TOOLS, line=2),
        conversation(U, call("weather", day="Monday"), tools=TOOLS, line=3),
        conversation(U, call("weather", city="Oslo", town="x"), tools=TOOLS, line=4),
        conversation(U, call("anything", city="Oslo"), line=5),
        chat("x", '<tool_call>{"name": "weather", "arguments": {"city": </tool_call>', line=6),
        chat("x", '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>', line=7),
        chat("x", "I would use a <tool_call> here.", line=8),
    ]
    assert found("tool_calls", *rows) == [2, 3, 4, 6]
    (finding,) = ask("tool_calls", rows[1:])
    assert finding.severity == "error"
    assert finding.example == "wheather is not among the tools of the row (weather)"
