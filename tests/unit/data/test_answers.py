"""Pairs and labelled answers as prompt trees: what is shared, what is dropped and cut, what belongs together in a split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from luthier.data.answers import compared, imitated, separate, tokenize_answers, unshared
from luthier.data.collate import collate
from luthier.data.example import Example, Part
from luthier.data.prepare import prepare
from luthier.data.split import split
from luthier.data.token_view import view_rows
from luthier.data.tokenize import Overlong, TokenizedSet
from luthier.errors import DataError
from luthier.reporter import Silent
from luthier.types import LabelledAnswer, Message, PreferencePair, Source
from tests.unit.data.fake_template import END, ROLES, FakeTemplate


def pair(prompt: str, chosen: str, rejected: str, line: int = 1) -> PreferencePair:
    return PreferencePair(
        (Message("user", prompt),),
        (Message("assistant", chosen),),
        (Message("assistant", rejected),),
        source=Source("pairs.jsonl", line),
    )


def labelled(prompt: str, answer: str, is_good: bool) -> LabelledAnswer:
    return LabelledAnswer((Message("user", prompt),), (Message("assistant", answer),), is_good)


def tokenized(*items: PreferencePair | LabelledAnswer, max_length: int = 100, overlong: Overlong = "drop"):
    return tokenize_answers(
        list(enumerate(items)), FakeTemplate(), max_length=max_length, overlong=overlong, reporter=Silent()
    )


def ids(text: str) -> list[int]:
    return list(text.encode())


def test_a_pair_is_its_prompt_and_two_answers_that_continue_it() -> None:
    (example,) = tokenized(pair("hi", "good", "bad")).tokens
    prompt, chosen, rejected = example.segments
    assert prompt.ids.tolist() == [ROLES["user"], *ids("hi"), END, ROLES["assistant"]]
    assert not prompt.weights.any()
    assert (chosen.ids.tolist(), chosen.parent, chosen.part) == ([*ids("good"), END], 0, Part.CHOSEN)
    assert (rejected.ids.tolist(), rejected.parent, rejected.part) == ([*ids("bad"), END], 0, Part.REJECTED)
    assert chosen.weights.all()
    assert rejected.weights.all()
    batch = collate([example])
    assert batch.rows == (-1, 0, 0), "the prompt ends no row"
    assert batch.num_row_tokens == 2 * len(prompt.ids) + len(chosen.ids) + len(rejected.ids)


def test_answers_that_begin_alike_are_not_shared_beyond_the_prompt() -> None:
    (example,) = tokenized(pair("hi", "same start a", "same start b")).tokens
    assert example.segments[0].ids.tolist()[-1] == ROLES["assistant"]
    assert example.segments[1].ids.tolist()[:4] == ids("same")


def test_separate_and_unshared_give_each_answer_its_prompt_back() -> None:
    (example,) = tokenized(pair("hi", "good", "bad")).tokens
    prompt, chosen, rejected = (segment.ids.tolist() for segment in example.segments)
    assert [row.segments[0].ids.tolist() for row in separate(example)] == [prompt + chosen, prompt + rejected]
    roots = unshared(example).segments
    assert [root.part for root in roots] == [Part.CHOSEN, Part.REJECTED]
    assert [root.parent for root in roots] == [-1, -1]
    assert [int(root.weights.sum()) for root in roots] == [len(chosen), len(rejected)]


def test_labelled_answers_bring_the_answer_of_another_prompt() -> None:
    found = tokenized(labelled("a", "one", True), labelled("a", "two", False), labelled("b", "three", True))
    parts = [[segment.part for segment in example.segments] for example in found.tokens]
    assert parts == [
        [Part.TEXT, Part.GOOD, Part.MISMATCHED],
        [Part.TEXT, Part.BAD, Part.MISMATCHED],
        [Part.TEXT, Part.GOOD, Part.MISMATCHED],
    ]
    others = [example.segments[2].ids.tolist() for example in found.tokens]
    assert others == [[*ids("three"), END], [*ids("three"), END], [*ids("one"), END]]
    assert found.tokens.num_targets == sum(len(word) + 1 for word in ("one", "two", "three")), "others are not learnt"


def test_a_batch_without_the_others_is_that_of_rows_without_them() -> None:
    rows = list(tokenized(labelled("a", "one", True), labelled("bc", "two", False)).tokens)
    own = [Example(row.row, row.segments[:2]) for row in rows]
    only, expected = collate(rows).only({Part.GOOD, Part.BAD}), collate(own)
    assert only.segments == expected.segments
    assert (only.rows, only.parts) == (expected.rows, expected.parts)
    assert only.input_ids_T.tolist() == expected.input_ids_T.tolist()
    assert only.position_ids_T.tolist() == expected.position_ids_T.tolist()
    for left, right in zip(only.targets, expected.targets, strict=True):
        assert left.tolist() == right.tolist()


def test_long_rows_are_dropped_cut_or_refused() -> None:
    long, short = pair("hi", "x" * 30, "y" * 10, 1), pair("ho", "a", "b", 2)
    dropped = tokenized(long, short, max_length=20)
    assert [str(row.source) for row in dropped.dropped] == ["pairs.jsonl:1"]
    assert dropped.dropped[0].reason == "36 tokens, the limit is 20"
    assert dropped.num_lost_answer_tokens == 31 + 11
    cut = tokenized(long, short, max_length=20, overlong="truncate")
    chosen, rejected = cut.tokens[0].segments[1:]
    assert (len(chosen.ids), len(rejected.ids)) == (15, 11)
    assert (cut.num_truncated_rows, cut.num_lost_answer_tokens) == (1, 16)
    with pytest.raises(DataError, match=r"1 of 2 rows are longer than 20 tokens \(longest: 36\)"):
        tokenized(long, short, max_length=20, overlong="error")


def test_a_pair_of_equal_answers_is_dropped_by_name() -> None:
    found = tokenized(pair("hi", "same", "same"), pair("hi", "good", "bad"))
    assert [row.reason for row in found.dropped] == [
        "chosen and rejected are the same tokens: there is nothing to compare"
    ]
    assert len(found.tokens) == 1


def test_trees_survive_the_disk(tmp_path: Path) -> None:
    tokens = tokenized(pair("hi", "good", "bad"), pair("ho", "a", "b")).tokens
    tokens.save(tmp_path / "set")
    again = TokenizedSet.load(tmp_path / "set")
    assert again.fingerprint == tokens.fingerprint
    for left, right in zip(again, tokens, strict=True):
        assert [(s.part, s.parent, s.row) for s in left.segments] == [(s.part, s.parent, s.row) for s in right.segments]
    assert tokens.contexts.tolist() == [0, 5, 5, 0, 5, 5]
    swapped = tokenized(pair("hi", "bad", "good"), pair("ho", "b", "a")).tokens
    assert swapped.fingerprint != tokens.fingerprint


def test_rows_with_one_prompt_stay_on_one_side_whatever_their_answers() -> None:
    rows = [pair(f"question number {i // 2} about {'abcdefghij'[i // 2] * 5}", f"x{i}", f"y{i}") for i in range(20)]
    for seed in range(5):
        found = split([compared(row) for row in rows], 0.3, seed)
        assert found.num_groups == 10
        assert not {row // 2 for row in found.train} & {row // 2 for row in found.validation}


def test_imitated_is_the_chosen_answer_after_a_prompt_that_is_not_learnt() -> None:
    item = PreferencePair(
        (Message("user", "a"), Message("assistant", "b"), Message("user", "c")),
        (Message("assistant", "good"),),
        (Message("assistant", "bad"),),
    )
    spoken = imitated(item)
    assert [m.content for m in spoken.messages] == ["a", "b", "c", "good"]
    assert [m.is_trained for m in spoken.messages] == [False, False, False, True]


def test_each_answer_of_a_row_is_shown_behind_its_prompt() -> None:
    tokenizer = FakeTemplate(words=tuple(chr(i) for i in range(300))).tokenizer
    pairs = view_rows(tokenized(pair("hi", "good", "bad")).tokens, tokenizer, 5)
    assert [(row, shown.part, shown.num_tokens, shown.num_trained) for row, shown in pairs] == [
        (0, "chosen", 10, 5),
        (0, "rejected", 9, 4),
    ]
    answers = view_rows(tokenized(labelled("a", "one", True), labelled("b", "two", False)).tokens, tokenizer, 5)
    assert [shown.part for _, shown in answers] == ["good", "bad"]


def test_files_of_pairs_are_prepared_cached_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    rows = [{"q": f"what is {i}?", "chosen": f"it is {i * i}", "rejected": f"no idea, {i}"} for i in range(30)]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))

    def run():
        return prepare(
            [file],
            template=FakeTemplate(),
            fraction=0.2,
            seed=0,
            model_max_length=100,
            columns={"prompt": "q"},
            rows="pairs",
        )

    first, second = run(), run()
    assert (first.report.cache_hit, second.report.cache_hit) == (False, True)
    assert second.train.fingerprint == first.train.fingerprint
    assert first.report.files[0].format == "preference"
    assert first.report.train.num_rows + first.report.validation.num_rows == 30
    assert len(first.validation) == first.report.validation.num_rows > 0
    assert np.array_equal(np.sort([*first.train.rows, *first.validation.rows]), np.arange(30))
    assert all(c.messages[-1].content.startswith("it is") for c in second.train_conversations)
