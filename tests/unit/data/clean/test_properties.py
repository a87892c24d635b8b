"""For any rows: after a repair its rule finds nothing but what is named, cleaning twice is cleaning once, undo gives all back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luthier.data.clean.catalogue import REPAIRS
from luthier.data.formats import recognise
from luthier.data.lint.catalogue import RULES
from luthier.data.lint.rule import look
from luthier.data.row import Row
from luthier.types import Source
from luthier.workflows.data_clean import CleanResult, data_clean
from luthier.workflows.data_undo import data_undo

PIECES = st.sampled_from(
    [
        *("word", "a longer sentence that says something.", "\n", "\n\n", "  ", "\t", ".", "(", "x < y", "&", "<", ">"),
        *(
            "schÃ¶n",
            "donâ€™t",
            "Ã",
            "é",
            "\x00",
            "\x1b[31m",
            "\u200b",
            "\ufeff",
            "\u2028",
            "\x85",
            "\x93",
            "\ufffd",
            "\u00ad",
        ),
        *(
            "<p>",
            "</p>",
            "<br>",
            "<b>",
            "</b>",
            "&amp;",
            "&lt;",
            "b&gt;",
            "&nbsp;",
            "&#8203;",
            "&amp;lt;",
            "<!--",
            "-->",
        ),
        *(
            "<li>",
            "<td>",
            "</td>",
            "<a href='https://x.org'>",
            "</a>",
            "<script>",
            "</script>",
            "`",
            "```",
            "<img alt='i'>",
        ),
        *(
            "<|im_start|>",
            "<|im_end|>",
            "user\n",
            "[INST]",
            "[/INST]",
            "</s>",
            "### Response:",
            "<|eot_id|>",
            "assistant",
        ),
        *("eve@acme.com", "81.2.69.142", "+1 (415) 867-5309", "DE89 3704 0044 0532 0130 00", "AKIAIOSFODNN7QXAMPLA"),
        *("password = 'hG7kk2LmZq9PwT'", "and then the", "As an AI language model", "What is the capital of France?"),
    ]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=7).map("".join)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXTS}),
    min_size=1,
    max_size=5,
)
ENDS = st.tuples(TEXTS | st.just(""), st.lists(TEXTS, max_size=1))
CHATS = st.tuples(MESSAGES, ENDS).map(lambda parts: {"messages": [*parts[0], *_ending(*parts[1])], "id": 1})
PAIRS = st.tuples(TEXTS, TEXTS).map(lambda pair: {"messages": _turns("q " + pair[0], pair[1])})
ROWS = st.lists(st.one_of(CHATS, PAIRS), min_size=1, max_size=8)
RULED = [name for name in REPAIRS if name in RULES]


def _turns(*texts: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=False)]


def _ending(answer: str, more: list[str]) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": answer}, *({"role": "user", "content": text} for text in more)]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def cleaned(folder: Path, rows: list[dict[str, Any]], repairs: list[str]) -> CleanResult:
    for name in ("in.jsonl", "out.jsonl", "out.ledger.jsonl", "out.dropped.jsonl", "back.jsonl"):
        (folder / name).unlink(missing_ok=True)
    return data_clean([write(folder / "in.jsonl", rows)], folder / "out.jsonl", repairs=repairs)


OPTIONS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@OPTIONS
@given(rows=ROWS, repairs=st.sets(st.sampled_from(RULED), min_size=1))
def test_after_a_repair_its_rule_finds_nothing_but_what_is_named(rows, repairs, tmp_path):
    result = cleaned(tmp_path, rows, [*repairs, "white_space"])
    if not result.num_kept:
        return
    left = {one.repair: one.num_rows for one in result.left}
    rows = [Row(values, Source("out", line)) for line, values in enumerate(read(result.path), 1)]
    items = [recognise(rows).to_item(row) for row in rows]
    assert {found.rule: found.num_rows for found in look([RULES[name] for name in repairs], items)} == left


@OPTIONS
@given(rows=ROWS, repairs=st.sets(st.sampled_from(sorted(REPAIRS)), min_size=1))
def test_a_second_cleaning_does_nothing_and_undo_gives_back_all(rows, repairs, tmp_path):
    names = sorted(repairs)
    result = cleaned(tmp_path, rows, names)
    undone = data_undo(result.path, tmp_path / "back.jsonl")
    assert read(tmp_path / "back.jsonl") == rows
    assert [list(row) for row in read(tmp_path / "back.jsonl")] == [list(row) for row in rows]
    assert (undone.num_rows, undone.num_put_back) == (len(rows), result.num_read - result.num_kept)
    assert read(tmp_path / "in.jsonl") == rows
    if result.num_kept:
        once = read(result.path)
        again = cleaned(tmp_path, once, names)
        assert (again.num_changed, again.drops) == (0, {})
        assert read(again.path) == once


@pytest.mark.parametrize("name", sorted(set(RULED) - {"truncated_answers"}))
def test_the_pieces_above_make_every_rule_find_something(name, tmp_path):
    """Or the properties would say nothing."""
    question = "What is the capital of France, say it now?"
    rows = [
        {"messages": _turns("q schÃ¶n \x00", "<b>x</b> <|im_end|>")},
        {"messages": [*_turns(question, f"{question} Paris"), {"role": "user", "content": "thanks"}]},
        {"messages": _turns("q", "eve@acme.com AKIAIOSFODNN7QXAMPLA password = 'hG7kk2LmZq9PwT'")},
        {"messages": _turns("q", "")},
        {"messages": _turns("q", "As an AI language model")},
        {"messages": _turns("same", "words")},
        {"messages": _turns("Same", "words")},
    ]
    result = cleaned(tmp_path, rows, [name])
    assert result.changes.get(name, 0) + result.drops.get(name, 0) == 1
    assert result.left == ()
