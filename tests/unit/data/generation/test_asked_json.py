"""JSON out of what models say."""

from __future__ import annotations

import pytest

from luthier.data.asking import Answer, Question, about_tokens
from luthier.data.generation.asked_json import NotAsAskedError, ask_json, find_json, list_under, text_under
from luthier.data.generation.prompts import QUESTION_ANSWER, prompt_text
from luthier.types import Message

QUESTION = Question((Message("user", "Write."),), 100, 0.5, 3)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1]}',
        ' \n{"a": [1]}\n',
        'Sure! Here it is:\n```json\n{"a": [1]}\n```\nAnything else?',
        '```\n{"a": [1]}\n```',
        'The result is {"a": [1]} as you wished.',
        '<think>{"a": 2} maybe</think>\n{"a": [1]}',
    ],
)
def test_json_is_found_where_models_put_it(text):
    assert find_json(Answer(text, "m")) == {"a": [1]}


@pytest.mark.parametrize("text", ["I cannot do that.", '{"a": [1', "", "[" * 100_000])
def test_what_holds_none(text):
    with pytest.raises(NotAsAskedError, match="no valid JSON"):
        find_json(Answer(text, "m"))
    with pytest.raises(NotAsAskedError, match="--max-tokens"):
        find_json(Answer(text, "m", was_cut=True))


def test_it_is_asked_once_more_with_the_reason():
    asked: list[Question] = []
    answers = iter(["nonsense", '{"examples": [{"x": "y"}]}'])

    def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer(next(answers), "m")

    found, _ = ask_json(ask, QUESTION, lambda content: list_under(content, "examples", 5))
    assert found == [{"x": "y"}]
    assert [m.role for m in asked[1].messages] == ["user", "assistant", "user"]
    assert "it holds no valid JSON" in asked[1].messages[2].content
    assert asked[1].seed == 4
    with pytest.raises(NotAsAskedError) as caught:
        ask_json(lambda _: Answer("again nonsense", "m"), QUESTION, lambda content: content)
    assert caught.value.said == "again nonsense"


def test_shapes():
    assert list_under([1, 2, 3], "x", 2) == [1, 2]
    assert text_under({"q": " a "}, "q", "it") == "a"
    for content in ({}, {"x": "y"}, {"x": []}, 3, None):
        with pytest.raises(NotAsAskedError, match="list under"):
            list_under(content, "x", 2)
    for content in ({}, {"q": 1}, {"q": "  "}, [], {"q": "\ud800"}):
        with pytest.raises(NotAsAskedError, match="example 1"):
            text_under(content, "q", "example 1")


def test_what_is_put_into_a_prompt_is_never_a_part_of_it():
    prompt = prompt_text(QUESTION_ANSWER, count="3", text="A text with {count} and {instruction}\n\n\nin it.")
    assert "Write 3 questions" in prompt
    assert prompt.endswith("A text with {count} and {instruction}\n\n\nin it.")
    assert "text.\nAnswer with JSON alone" in prompt
    assert "text.\nBe short.\nAnswer with JSON" in prompt_text(
        QUESTION_ANSWER, instruction="Be short.", count="3", text="x"
    )


def test_tokens_are_guessed_by_script():
    assert about_tokens("word " * 100) == 125
    assert about_tokens("中" * 100) == 80
    assert about_tokens("") == 0
