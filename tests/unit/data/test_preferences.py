"""Preference pairs and labelled answers, in every layout that is recognised."""

from __future__ import annotations

from typing import Any

import pytest

from luthier.data.messages import BadRowError
from luthier.data.preferences import is_labelled, preference_columns, to_labelled, to_pair
from luthier.data.row import Row
from luthier.data.sources import read_rows
from luthier.types import Message, Source

Q = {"role": "user", "content": "q"}
GOOD, BAD = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}
HUMAN, GPT_GOOD, GPT_BAD = ({"from": w, "value": v} for w, v in [("human", "q"), ("gpt", "good"), ("gpt", "bad")])


def row(value: dict[str, Any]) -> Row:
    return Row(value, Source("f.jsonl", 1))


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"question": "q", "response_j": "good", "response_k": "bad"},
        {"instruction": "q", "input": "", "output": "good", "chosen": "good", "rejected": "bad"},
        {"prompt": [Q], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "q", "chosen": [Q, GOOD], "rejected": [Q, BAD]},
        {"chosen": [Q, GOOD], "rejected": [Q, BAD]},
        {"chosen_messages": [Q, GOOD], "rejected_messages": [Q, BAD]},
        {"conversations": [HUMAN], "chosen": GPT_GOOD, "rejected": GPT_BAD},
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
    ],
)
def test_every_layout_gives_the_same_pair(value):
    assert preference_columns(value) is not None
    pair = to_pair(row(value))
    assert pair.prompt == (Message("user", "q"),)
    assert pair.chosen == (Message("assistant", "good"),)
    assert pair.rejected == (Message("assistant", "bad"),)
    assert pair.source == Source("f.jsonl", 1)


def test_implicit_prompts_end_before_the_turn_that_differs():
    shared = [Q, GOOD, {"role": "user", "content": "and?"}]
    pair = to_pair(row({"chosen": [*shared, GOOD], "rejected": [*shared, BAD, Q, GOOD]}))
    assert [m.content for m in pair.prompt] == ["q", "good", "and?"]
    assert [m.content for m in pair.rejected] == ["bad", "q", "good"]


def test_equal_answers_are_no_prompt():
    pair = to_pair(row({"chosen": [Q, GOOD], "rejected": [Q, GOOD]}))
    assert pair.chosen == pair.rejected == (Message("assistant", "good"),)


@pytest.mark.parametrize(
    ("extra", "margin"),
    [({"margin": 2}, 2.0), ({"score_chosen": 8.5, "score_rejected": 6}, 2.5), ({}, None), ({"margin": "x"}, None)],
)
def test_margins(extra, margin):
    assert to_pair(row({"prompt": "q", "chosen": "good", "rejected": "bad", **extra})).margin == margin


def test_a_system_column_goes_first():
    pair = to_pair(row({"system": "s", "question": "q", "chosen": "good", "rejected": "bad"}))
    assert pair.prompt == (Message("system", "s"), Message("user", "q"))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"chosen": "good", "rejected": "bad"}, "no transcript"),
        ({"chosen": [Q, GOOD], "rejected": [{"role": "user", "content": "p"}, BAD]}, "do not begin with the same"),
        ({"prompt": "q", "chosen": [Q], "rejected": [BAD]}, "chosen: expected the assistant's answer"),
        ({"prompt": "q", "chosen": 3, "rejected": "bad"}, "chosen must be text or messages"),
        ({"prompt": "q", "chosen": "good"}, "no chosen and rejected"),
        ({"prompt": "q", "chosen": [{**GOOD, "weight": 0.5}], "rejected": [BAD]}, "a turn's weight is 0 or 1 here"),
    ],
)
def test_reasons(value, reason):
    with pytest.raises(BadRowError, match=reason):
        to_pair(row(value))


@pytest.mark.parametrize(
    ("label", "is_good"), [(True, True), (0, False), ("True", True), ("false", False), (1.0, True)]
)
def test_labelled_answers(label, is_good):
    for value in ({"prompt": "q", "completion": "good", "label": label}, {"messages": [Q, GOOD], "kto_tag": label}):
        assert is_labelled(value)
        answer = to_labelled(row(value))
        assert (answer.prompt, answer.answer) == ((Message("user", "q"),), (Message("assistant", "good"),))
        assert answer.is_good is is_good


def test_a_labelled_answer_begins_behind_the_last_question():
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    value = {"messages": [Q, GOOD, Q, call, {"role": "tool", "content": "1"}, GOOD], "label": True}
    answer = to_labelled(row(value))
    assert [m.role for m in answer.prompt] == ["user", "assistant", "user"]
    assert [m.role for m in answer.answer] == ["assistant", "tool", "assistant"]


@pytest.mark.parametrize("value", [{"prompt": "q", "completion": "a", "label": "spam"}, {"text": "a", "label": True}])
def test_other_labels_are_no_verdicts(value):
    assert not is_labelled(value)


@pytest.mark.parametrize(
    ("file", "num_rows"),
    [
        ("llamafactory_demos/dpo_en_demo.json", 299),
        ("rasbt_dpo/instruction-data-with-preference.json", 1100),
        ("ultrafeedback_1200/train_clean.jsonl", 1000),
    ],
)
def test_real_pairs(shared_data, file, num_rows):
    pairs = [to_pair(found) for found in read_rows(shared_data / "preference" / file)]
    assert len(pairs) == num_rows
    assert all(pair.prompt and pair.chosen and pair.rejected for pair in pairs)


def test_real_labels(shared_data):
    answers = [to_labelled(r) for r in read_rows(shared_data / "preference/llamafactory_demos/kto_en_demo.json")]
    assert len(answers) == 300
    assert {answer.is_good for answer in answers} == {True, False}
