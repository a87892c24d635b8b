"""Text of an answer as it comes: equal to the whole, cut at the first stop string, nothing shown that is taken back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import tiny_tokenizer

from luthier.serve.answer_text import AnswerText

TOKENIZER = tiny_tokenizer()
TEXTS = st.text(alphabet="ab é中🎻\n", max_size=30)


def decode(ids: Sequence[int]) -> str:
    return TOKENIZER.decode(list(ids))


def shown(ids: Sequence[int], stops: Sequence[str] = ()) -> tuple[str, list[str]]:
    text, pieces = AnswerText(decode, {0}, stops), []
    for token in ids:
        text.take(token)
        pieces.append(text.new())
        assert text.text.startswith("".join(pieces))
        if text.is_stopped:
            break
    text.end()
    pieces.append(text.new())
    assert "".join(pieces) == text.text
    return text.text, pieces


@given(TEXTS)
def test_pieces_make_the_text(text: str) -> None:
    whole, pieces = shown(TOKENIZER(text)["input_ids"])
    assert whole == text
    assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(3, len(TOKENIZER) - 1), max_size=20))
def test_pieces_of_any_tokens_make_what_the_tokenizer_says(ids: list[int]) -> None:
    assert shown(ids)[0] == decode(ids)


@given(st.text("ab", max_size=20), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3))
def test_it_ends_before_the_first_stop_string(text: str, stops: list[str]) -> None:
    # Token by token: the first token that completes a stop string ends it, at the earliest place of one.
    expected, read = text, ""
    ids = TOKENIZER(text)["input_ids"]
    for count in range(1, len(ids) + 1):
        read = decode(ids[:count])
        if places := [read.find(stop) for stop in stops if stop in read]:
            expected = read[: min(places)]
            break
    assert shown(ids, stops)[0] == expected


def test_what_may_begin_a_stop_string_is_held_back() -> None:
    ids = [TOKENIZER(c)["input_ids"][0] for c in "xSToST"]
    assert shown(ids, ["STOP"])[1] == ["x", "", "", "STo", "", "", "ST"]


@pytest.mark.parametrize("stop", [0, 3])
def test_stop_tokens_are_no_text(stop: int) -> None:
    text = AnswerText(decode, {stop}, ())
    text.take(stop)
    text.end()
    assert text.text == ""
