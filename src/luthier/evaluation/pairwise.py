"""Answers compared two by two, by a judge or by people, as the result of a task: a row's score is what a contender got of it.

1 for a row that it wins, 0 for one that it loses, ½ for a tie. The mean is the win rate, ties counted by half; the difference of
the two contenders' win rates has the paired interval and test that every task has. Equal answers are a tie that nobody is asked
about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.protocol import Score
from luthier.evaluation.recorded import RecordedRow
from luthier.evaluation.result import Answer, ContenderResult, TaskResult

METRIC = "win_rate"


@dataclass(frozen=True)
class DecidedPair:
    """A row with who won it.

    Attributes:
        points: Of the first contender, 0 to 1.
        why: In words.
    """

    row: RecordedRow
    points: float
    why: str


def are_equal(row: RecordedRow, first: ContenderName, second: ContenderName) -> bool:
    """Whether two say the same, white space around it aside."""
    return row.text(first).strip() == row.text(second).strip()


def pairwise_result(
    name: str,
    scorer: str,
    contenders: tuple[ContenderName, ContenderName],
    pairs: Sequence[DecidedPair],
    *,
    seconds: float,
    figures: Mapping[str, float] | None = None,
    notes: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
) -> TaskResult:
    """The result of a task.

    Args:
        name: Of the result.
        scorer: Who compared.
        contenders: The first (``tuned``) and the second.
        pairs: At least one.
        seconds: That it took.
        figures: Further figures of the first contender.
        notes: What a reader has to know.
        record: Further parts of the summary.
    """
    first, second = contenders
    sides = {
        second: ([1 - pair.points for pair in pairs], {}),
        first: ([pair.points for pair in pairs], dict(figures or {})),
    }
    results = tuple(
        ContenderResult(
            side,
            tuple(answer_of(pair.row, side, Score(score, pair.why)) for pair, score in zip(pairs, scores, strict=True)),
            {"wins": sum(s > 0.5 for s in scores), "ties": sum(s == 0.5 for s in scores), **more},
        )
        for side, (scores, more) in sides.items()
    )
    kept = {"is_graded": True, **(record or {})}
    return TaskResult(name, METRIC, scorer, results, seconds, notes=tuple(notes), record=kept)


def answer_of(row: RecordedRow, contender: ContenderName, score: Score) -> Answer:
    """A recorded answer with another score."""
    line = row.answers[contender]
    return Answer(
        row=row.row,
        contender=contender,
        prompt=line["prompt"],
        text=line["answer"],
        score=score,
        finish_reason=line["finish_reason"],
        num_tokens=line["num_tokens"],
        turns=tuple(line.get("turns", ())),
    )
