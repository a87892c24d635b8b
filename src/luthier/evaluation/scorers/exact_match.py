"""Right if the answer is the reference, apart from case, white space and a full stop at the end."""

from __future__ import annotations

import unicodedata

from luthier.evaluation.protocol import Score, TaskRow


def normalised(text: str) -> str:
    """Unicode NFKC, case folded, runs of white space as one space, no quotes around and no full stop at the end."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.strip("\"'`").removesuffix(".").strip()


class ExactMatch:
    """Compares normalised text. A reference may be one text or a list of which any will do."""

    name = "exact_match"

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where the answer equals a reference."""
        references = [row.reference] if isinstance(row.reference, str) else list(row.reference)
        if normalised(answer) in {normalised(str(reference)) for reference in references}:
            return Score(1.0, "equals the reference")
        return Score(0.0, "differs from the reference" if answer.strip() else "the answer is empty")
