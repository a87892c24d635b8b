"""Right if there is an answer at all. For questions without a reference, whose answers are for people or a judge to compare."""

from __future__ import annotations

from luthier.evaluation.protocol import Score, Scorer, TaskRow


class Answered(Scorer):
    """Says only whether something was answered."""

    name = "answered"
    metric = "answered"

    def score(self, row: TaskRow, answer: str) -> Score:  # noqa: ARG002 - there is nothing to compare with
        """1 where the answer is not empty."""
        return Score(1.0, "there is an answer") if answer.strip() else Score(0.0, "the answer is empty")
