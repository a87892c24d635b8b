"""What counts as the same text, against the definition written out plainly."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.content import normalised

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


def plainly(text: str) -> str:
    """Pieces of words, single signs of scripts without spaces, and runs of other signs; of these those with a letter, if any."""
    pieces = re.findall(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]+", text.lower())
    return " ".join([piece for piece in pieces if re.search(r"\w", piece)] or pieces)


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(),
        st.text(st.sampled_from("aB_9 .,!\t\n\x1c\x7f<=é\u0130漢・゛カ\u00ad\u200b")),
        st.text(st.characters(max_codepoint=127)),
    )
)
def test_normalised_is_what_it_says(text: str):
    assert normalised(text) == plainly(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  Don't STOP,\tnow!\n", "don t stop now"),
        ("snake_case x2", "snake_case x2"),
        ("<=", "<="),
        (" \n", ""),
        ("漢字です。OK", "漢 字 で す ok"),
        ("Größe 1,5", "größe 1 5"),
    ],
)
def test_by_hand(text: str, words: str):
    assert normalised(text) == words
