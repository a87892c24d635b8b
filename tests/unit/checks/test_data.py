"""Each check of the tokenised rows passes on good rows and fails on a planted defect."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import decoders

from luthier.checks import data as checks
from luthier.data.example import Example, Segment
from luthier.data.template import ChatTemplate
from luthier.data.tokenize import TokenizedSet
from luthier.types import Check, Conversation, Message, Source
from tests.small_tokenizer import small_tokenizer
from tests.unit.data.test_template import CHATML, FORGETFUL

END, BOS = 9, 1


def rows(*examples: tuple[list[int], list[int]], numbers: list[int] | None = None) -> TokenizedSet:
    return TokenizedSet.from_examples(
        [
            Example(numbers[i] if numbers else i, (Segment(np.array(ids, np.int32), np.array(weights, np.float32)),))
            for i, (ids, weights) in enumerate(examples)
        ]
    )


GOOD = rows(([1, 5, 6, END], [0, 0, 1, 1]), ([1, 5, END, 5, 7, END, 5], [0, 1, 1, 0, 1, 1, 0]))
EMPTY = rows()


def ends(*sets: TokenizedSet, max_length: int | None = None) -> Check:
    return checks.answers_end(sets, frozenset({END}), max_length)


def test_answers_end() -> None:
    good = ends(GOOD, EMPTY)
    assert good.passed
    assert good.measured == "3 of 3"
    untrained_end = ends(rows(([1, 5, 6, END], [0, 0, 1, 0])))
    assert not untrained_end.passed
    assert untrained_end.measured == "0 of 1; first other: row 0"
    # The run of the first row ends at its border, not in the next row, which begins with a trained token of its own.
    borders = ends(rows(([1, 5, 6], [0, 0, 1]), ([END, END], [1, 1]), numbers=[4, 7]))
    assert borders.measured == "1 of 2; first other: row 4"


def test_answers_that_were_cut_at_the_limit_are_counted_apart() -> None:
    cut = rows(([1, 5, 6, 6], [0, 0, 1, 1]), ([1, 5, 6, END], [0, 0, 1, 1]))
    assert ends(cut, max_length=4).measured == "1 of 1, 1 more cut at 4 tokens"
    assert ends(cut, max_length=4).passed
    assert not ends(cut, max_length=5).passed


def test_one_bos() -> None:
    assert checks.one_bos([GOOD, EMPTY], BOS, required=True).passed
    doubled = checks.one_bos([rows(([1, 1, 5, END], [0, 0, 1, 1]))], BOS, required=False)
    assert not doubled.passed
    assert doubled.measured == "0 of 1 rows; first other: row 0"
    without = rows(([5, 6, END], [0, 1, 1]))
    assert not checks.one_bos([without], BOS, required=True).passed
    assert checks.one_bos([without], BOS, required=False).passed
    assert checks.one_bos([without], None, required=False).passed


def test_later_chunks_of_a_document_need_no_bos() -> None:
    chunks = [([1, 5, 6], [0, 1, 1]), ([6, 7, END], [0, 1, 1])]
    assert checks.one_bos([rows(*chunks, numbers=[3, 3])], BOS, required=True).passed
    assert not checks.one_bos([rows(*chunks, numbers=[3, 4])], BOS, required=True).passed


def test_rows_are_supervised() -> None:
    good = checks.rows_are_supervised([GOOD, EMPTY])
    assert good.passed
    assert good.measured == "2 of 2 rows, 6 trained tokens"
    bad = checks.rows_are_supervised([GOOD, rows(([1, 5], [0, 1]), ([1, 5], [0, 0]), numbers=[8, 9])])
    assert not bad.passed
    assert bad.measured == "3 of 4 rows, 7 trained tokens; rows without: 9"


def test_a_row_of_several_segments_is_one_row() -> None:
    prompt = Segment(np.array([1, 5], np.int32), np.zeros(2, np.float32))
    answer = Segment(np.array([6, END], np.int32), np.ones(2, np.float32), parent=0)
    tree = TokenizedSet.from_examples([Example(0, (prompt, answer))])
    assert checks.rows_are_supervised([tree]).passed
    assert checks.one_bos([tree], BOS, required=True).passed
    assert ends(tree).measured == "1 of 1"


def chat(*texts: str) -> Conversation:
    roles = ("user", "assistant")
    return Conversation(
        tuple(Message(roles[i % 2], text) for i, text in enumerate(texts)),  # type: ignore[arg-type]
        source=Source("f.jsonl", 1),
    )


def test_training_equals_serving() -> None:
    good = ChatTemplate.from_tokenizer(small_tokenizer(), template=CHATML)
    assert checks.training_equals_serving(good, [chat("Hello", "Hi", "Who?", "Me")]).passed
    # The template that forgets thinking is fine, because each turn is trained as it is generated.
    forgetful = ChatTemplate.from_tokenizer(small_tokenizer(), template=FORGETFUL)
    thinking = chat("Hello", "<think>so</think>Hi", "Who?", "<think>hm</think>Me")
    assert checks.training_equals_serving(forgetful, [thinking]).passed
    prompts_otherwise = CHATML.replace("<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n<think>\n{% endif")
    bad = ChatTemplate.from_tokenizer(small_tokenizer(), template=prompts_otherwise)
    check = checks.training_equals_serving(bad, [chat("Hello", "Hi")])
    assert not check.passed
    assert "f.jsonl:1" in str(check.measured)


def test_tokenizer_round_trip() -> None:
    assert checks.tokenizer_round_trip(small_tokenizer()).passed
    broken = small_tokenizer()
    broken.backend_tokenizer.decoder = decoders.Replace("e", "3")
    check = checks.tokenizer_round_trip(broken)
    assert not check.passed
    assert "turns" in str(check.measured)


@pytest.mark.parametrize("check", [ends(GOOD), checks.rows_are_supervised([GOOD])])
def test_a_check_says_what_to_do(check: Check) -> None:
    assert check.advice.endswith(".")
    assert check.claim.endswith(".")
