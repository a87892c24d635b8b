"""Each answer by itself, in points by a rubric. The score is where the points lie from the least (0) to the most (1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from luthier.data.asking import Ask, Question
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.judge.prompts import LEAST_POINTS, MOST_POINTS, rubric_question
from luthier.evaluation.judge.verdict import Verdict, ask_verdict, read_points
from luthier.evaluation.pairwise import answer_of
from luthier.evaluation.protocol import Score
from luthier.evaluation.recorded import RecordedRow
from luthier.evaluation.result import ContenderResult

METRIC = "rubric_score"


@dataclass(frozen=True)
class GradedRow:
    """A row with the verdict on each contender's answer."""

    row: RecordedRow
    verdicts: dict[ContenderName, Verdict[int]]

    @property
    def problem(self) -> str:
        """Why the row has no score; empty where it has."""
        return next((verdict.problem for verdict in self.verdicts.values() if verdict.problem), "")


@dataclass(frozen=True)
class RubricJudge:
    """Gives points to each contender.

    Attributes:
        criteria: What makes an answer good.
        max_tokens: Longest verdict.
    """

    contenders: tuple[ContenderName, ...]
    criteria: str
    max_tokens: int

    def questions(self, row: RecordedRow) -> tuple[Question, ...]:
        """One for each contender."""
        return tuple(
            rubric_question(self.criteria, row.asked, row.reference_text, row.text(name), self.max_tokens)
            for name in self.contenders
        )

    def judge(self, row: RecordedRow, ask: Ask) -> GradedRow:
        """Judge all answers to a row.

        Raises:
            EndpointError: Nobody answers any more.
        """
        asked = zip(self.contenders, self.questions(row), strict=True)
        return GradedRow(row, {name: ask_verdict(ask, question, read_points) for name, question in asked})


def graded_contenders(graded: Sequence[GradedRow], contenders: Sequence[ContenderName]) -> tuple[ContenderResult, ...]:
    """The contenders with their scores; on rows that have a verdict on every answer."""
    return tuple(
        ContenderResult(name, tuple(answer_of(one.row, name, _score(one.verdicts[name])) for one in graded))
        for name in contenders
    )


def _score(verdict: Verdict[int]) -> Score:
    assert verdict.value is not None, verdict.problem
    share = (verdict.value - LEAST_POINTS) / (MOST_POINTS - LEAST_POINTS)
    return Score(share, f"{verdict.value} of {MOST_POINTS}: {verdict.reason}", measures={"points": verdict.value})
