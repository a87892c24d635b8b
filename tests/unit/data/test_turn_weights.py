"""Weights of turns and of rows: which token counts how much, by hand; converted files keep them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.data.formats import convert, recognise
from luthier.data.row import Row
from luthier.data.targets import as_alpaca, as_messages, as_prompt_completion, as_sharegpt
from luthier.data.template import ChatTemplate
from luthier.data.tokenize import tokenize
from luthier.reporter import Silent
from luthier.types import Conversation, Message, Source
from tests.tiny import tiny_tokenizer

TURNS = [
    {"role": "user", "content": "one?"},
    {"role": "assistant", "content": "first", "weight": 0.25},
    {"role": "user", "content": "two?"},
    {"role": "assistant", "content": "second"},
    {"role": "user", "content": "three?"},
    {"role": "assistant", "content": "third", "weight": 0},
]


def read(*values: dict[str, Any]) -> Any:
    rows = [Row(value, Source("rows.jsonl", line)) for line, value in enumerate(values, 1)]
    row_format = recognise(rows)
    return convert(rows, row_format), row_format


def weights(tokenizer: Any, conversation: Conversation) -> dict[str, set[float]]:
    """Per answer the weights of its tokens; what is no answer under the empty name."""
    template = ChatTemplate.from_tokenizer(tokenizer)
    tokens = tokenize([(0, conversation)], template, max_length=512, overlong="error", reporter=Silent())
    (example,) = (tokens.tokens[i] for i in range(len(tokens.tokens)))
    (segment,) = example.segments
    found: dict[str, set[float]] = {"": set()}
    text, start = "", 0
    pieces = [tokenizer.decode([i]) for i in segment.ids]
    whole = "".join(pieces)
    spans = {m.content: whole.find(m.content) for m in conversation.messages if m.role == "assistant"}
    assert spans.pop("third") == -1, "what nothing learnt comes after is not read either"
    for piece, weight in zip(pieces, segment.weights, strict=True):
        start = len(text)
        text += piece
        inside = [c for c, at in spans.items() if at <= start < at + len(c) + len("<|im_end|>")]
        found.setdefault(inside[0] if inside else "", set()).add(float(weight))
    return found


def test_each_turn_counts_as_it_says() -> None:
    converted, _ = read({"messages": TURNS})
    (conversation,) = converted.items
    assert [(m.train, m.weight) for m in conversation.messages if m.role == "assistant"] == [
        (True, 0.25), (None, None), (False, None),
    ]  # fmt: skip
    assert weights(tiny_tokenizer(), conversation) == {"": {0.0}, "first": {0.25}, "second": {1.0}}


def test_a_row_counts_as_it_says_times_its_turns() -> None:
    converted, row_format = read({"messages": TURNS, "loss_weight": 2, "other": 1})
    (conversation,) = converted.items
    assert weights(tiny_tokenizer(), conversation) == {"": {0.0}, "first": {0.5}, "second": {2.0}}
    assert row_format.unused == ("other",)
    converted, _ = read({"prompt": "q", "completion": "a", "loss_weight": 0.5}, {"prompt": "q", "completion": "b"})
    assert [item.messages[-1].weight for item in converted.items] == [0.5, None]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        (0, "loss_weight is 0: there is nothing to learn"),
        (-1, "must be a number of at least 0"),
        ("x", "found the text 'x'"),
    ],
)
def test_weights_that_cannot_be(weight: Any, expected: str) -> None:
    converted, _ = read({"messages": TURNS, "loss_weight": weight})
    assert converted.items == []
    (problem,) = converted.problems
    assert expected in problem.message


def test_a_column_called_weight_is_left_alone() -> None:
    converted, row_format = read({"prompt": "q", "completion": "a", "weight": 70})
    assert converted.items[0].messages[-1].weight is None
    assert row_format.unused == ("weight",)


def test_views_of_a_template_that_rewrites_history_stay_apart() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
        "{% if m['role'] == 'assistant' and loop.last %}{{ 'thought ' }}{% endif %}"
        "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\nthought ' }}{% endif %}"
    )
    messages = tuple(Message(m["role"], m["content"], weight=m.get("weight") or None) for m in TURNS[:4])  # type: ignore[arg-type]
    template = ChatTemplate.from_tokenizer(tokenizer)
    tokens = tokenize([(0, Conversation(messages))], template, max_length=512, overlong="error", reporter=Silent())
    found = {
        float(w) for i in range(len(tokens.tokens)) for s in tokens.tokens[i].segments for w in np.unique(s.weights)
    }
    assert found == {0.0, 0.25, 1.0}
    assert len(tokens.tokens) == 2


def test_files_that_are_converted_keep_weights_or_say_so(tmp_path: Path) -> None:
    converted, _ = read({"messages": TURNS[:4]})
    (conversation,) = converted.items
    for write in (as_messages, as_sharegpt, as_prompt_completion):
        said = write(conversation)
        assert said.values is not None
        again, _ = read(json.loads(json.dumps(said.values)))
        kept = {m.content: m.weight for m in again.items[0].messages if m.is_trained}
        assert kept == {"first": 0.25, "second": None} or "training of earlier answers" in said.lost
    assert "weights of answers" in as_alpaca(conversation).lost
