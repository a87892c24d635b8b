"""The quick looks that spare most texts the finders: with them, the same is found as without."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.personal.find import FINDERS, find_personal_data
from tests.conftest import SHARED_DATA


def without_quick_looks(text: str) -> set[tuple[str, int, int]]:
    """Every finder on the whole text; of places that overlap the finder's that comes first."""
    found: list[tuple[str, int, int]] = []
    for finder in FINDERS.values():
        new = [(span.kind, span.start, span.end) for span in finder.find(text)]
        found += [n for n in new if not any(n[1] < o[2] and o[1] < n[2] for o in found)]
    return set(found)


def found_in(text: str) -> set[tuple[str, int, int]]:
    return {(span.kind, span.start, span.end) for span in find_personal_data(text)}


PIECES = (
    *("DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "4539 1488 0343 6467", "4539148803436467"),
    *("81.20.30.4", "2001:4860::8888", "::1", "fe80::1", "+49 30 23125 017", "(212) 555-2345", "call 020 7946 0958"),
    *("078-05-1120", "RSSMRA85T10A562S", "85073003328", "AB123456C", "12 Baker Street", "Hauptstraße 12", "P.O. Box 7"),
    *("a@b.org", "7", "x1y", "1.5", "2024-01-02", "10:30:00", "no.", "\n"),
)


@settings(max_examples=300)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text("0123456789 .:-+/()aZ", max_size=12)), max_size=6))
def test_quick_looks_lose_nothing(pieces: list[str]):
    text = " ".join(pieces)
    assert found_in(text) == without_quick_looks(text)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the development data are not beside the repository")
def test_quick_looks_lose_nothing_in_real_texts():
    rows = json.loads((SHARED_DATA / "dirty" / "presidio_pii" / "generated_small.json").read_text())
    texts = [row["full_text"] for row in rows]
    assert len(texts) >= 100
    assert [found_in(text) for text in texts] == [without_quick_looks(text) for text in texts]
