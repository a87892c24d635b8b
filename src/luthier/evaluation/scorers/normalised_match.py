"""Right if the words of the answer are those of the reference: case, punctuation and articles do not count.

The normalisation of SQuAD (Rajpurkar et al. 2016), with Unicode's punctuation. Where answers may be sentences, `contains`
asks only that the reference's words stand in the answer, in a row.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from luthier.evaluation.protocol import Score, Scorer, TaskRow
from luthier.evaluation.scorers.exact_match import accepted_texts, text_problem

_ARTICLES = {"a", "an", "the"}
_APOSTROPHES = re.compile(r"['’`]")


def words_of(text: str) -> list[str]:
    """The words without case, punctuation and articles. "Don't" is one word; what punctuation joins is two."""
    folded = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text).casefold())
    spaced = "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in folded)
    return [word for word in spaced.split() if word not in _ARTICLES]


class NormalisedMatch(Scorer):
    """Compares words.

    Args:
        contains: Whether it is enough that the reference stands in the answer.
    """

    name = "normalised_match"
    metric = "normalised_match"

    def __init__(self, *, contains: bool = False) -> None:
        self._contains = contains

    def reference_problem(self, reference: Any) -> str:
        """It must be text with words in it."""
        if problem := text_problem(reference):
            return problem
        empty = [text for text in accepted_texts(reference) if not words_of(text)]
        return f"{empty[0]!r} has no words once punctuation and articles are gone; use exact_match" if empty else ""

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where the words are the same."""
        said = words_of(answer)
        if not said:
            return Score(0.0, "the answer is empty")
        for reference in accepted_texts(row.reference):
            wanted = words_of(reference)
            if said == wanted:
                return Score(1.0, "the same words as the reference")
            if self._contains and _stands_in(wanted, said):
                return Score(1.0, f"contains the reference '{reference}'")
        return Score(0.0, "does not contain the reference" if self._contains else "other words than the reference")


def _stands_in(wanted: list[str], said: list[str]) -> bool:
    width = len(wanted)
    return any(said[start : start + width] == wanted for start in range(len(said) - width + 1))
