"""Right if the answer is the reference, apart from case, white space and a full stop at the end."""

from __future__ import annotations

import unicodedata
from typing import Any

from luthier.evaluation.protocol import Score, Scorer, TaskRow


def normalised(text: str) -> str:
    """Unicode NFKC, case folded, runs of white space as one space, no quotes around and no full stop at the end."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip("\"'`").removesuffix(".").strip()


def accepted_texts(reference: Any) -> list[str]:
    """The references of a row: one text, or a list of which any will do."""
    return [reference] if isinstance(reference, str) else [str(text) for text in reference]


def text_problem(reference: Any) -> str:
    """Why a reference is neither a text nor a list of texts; empty where it is."""
    if isinstance(reference, str):
        return ""
    if isinstance(reference, list | tuple) and reference:
        return ""
    return f"it is {reference!r}; it must be one text, or a list of texts of which any is right"


class ExactMatch(Scorer):
    """Compares normalised text. A reference may be one text or a list of which any will do."""

    name = "exact_match"
    metric = "exact_match"

    def reference_problem(self, reference: Any) -> str:
        """It must be text."""
        return text_problem(reference)

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where the answer equals a reference."""
        if normalised(answer) in {normalised(text) for text in accepted_texts(row.reference)}:
            return Score(1.0, "equals the reference")
        return Score(0.0, "differs from the reference" if answer.strip() else "the answer is empty")
