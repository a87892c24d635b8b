"""Two answers side by side, shown to the judge in both orders.

A judge that goes by the place says "A" twice: each contender then has half of the row. How often the order changed the verdict
is the inconsistency rate; how often the answer shown first won is the judge's love of first places. A row of which one order
has no verdict is not scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.data.asking import Ask, Question
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.judge.length_control import length_controlled
from luthier.evaluation.judge.prompts import pairwise_question
from luthier.evaluation.judge.verdict import Verdict, ask_verdict, read_better
from luthier.evaluation.pairwise import DecidedPair, are_equal
from luthier.evaluation.recorded import RecordedRow
from luthier.evaluation.statistics.intervals import wilson

_POINTS_SHOWN_FIRST = {"A": 1.0, "B": 0.0, "tie": 0.5}
_TIE = "both answers say the same"


@dataclass(frozen=True)
class JudgedPair:
    """A row in both orders.

    Attributes:
        shown_first: Verdict where the first contender's answer was A; None where both answers are equal and nobody was asked.
        shown_second: Where it was B.
    """

    row: RecordedRow
    shown_first: Verdict[str] | None = None
    shown_second: Verdict[str] | None = None

    @property
    def verdicts(self) -> tuple[Verdict[str], ...]:
        """Of both orders."""
        return tuple(verdict for verdict in (self.shown_first, self.shown_second) if verdict is not None)

    @property
    def problem(self) -> str:
        """Why the row has no score; empty where it has."""
        return next((verdict.problem for verdict in self.verdicts if verdict.problem), "")

    @property
    def points(self) -> tuple[float, ...]:
        """Of the first contender in each order; half a point twice where nobody was asked."""
        if self.shown_first is None or self.shown_second is None:
            return (0.5, 0.5)
        first, second = self.shown_first.value, self.shown_second.value
        assert first is not None, self.problem
        assert second is not None, self.problem
        return (_POINTS_SHOWN_FIRST[first], 1 - _POINTS_SHOWN_FIRST[second])

    def decided(self) -> DecidedPair:
        """The mean of both orders."""
        if not self.verdicts:
            return DecidedPair(self.row, 0.5, _TIE)
        words = [f"{v.value}: {v.reason}" for v in self.verdicts]
        return DecidedPair(self.row, sum(self.points) / 2, f"tuned as A: {words[0]} · tuned as B: {words[1]}")


@dataclass(frozen=True)
class PairwiseJudge:
    """Compares two contenders.

    Attributes:
        criteria: What makes an answer good.
        max_tokens: Longest verdict.
    """

    first: ContenderName
    second: ContenderName
    criteria: str
    max_tokens: int

    def questions(self, row: RecordedRow) -> tuple[Question, ...]:
        """What is asked about a row: both orders; nothing where both answers are equal."""
        if are_equal(row, self.first, self.second):
            return ()
        a, b = row.text(self.first), row.text(self.second)
        return tuple(
            pairwise_question(self.criteria, row.asked, row.reference_text, *shown, self.max_tokens)
            for shown in ((a, b), (b, a))
        )

    def judge(self, row: RecordedRow, ask: Ask) -> JudgedPair:
        """Judge a row in both orders.

        Raises:
            EndpointError: Nobody answers any more.
        """
        return JudgedPair(row, *(ask_verdict(ask, question, read_better) for question in self.questions(row)))


@dataclass(frozen=True)
class PairwiseFindings:
    """What can be said of the verdicts beside who wins: figures, the same in words, and as JSON."""

    figures: Mapping[str, float]
    notes: tuple[str, ...]
    record: Mapping[str, Any]


def pairwise_findings(judged: Sequence[JudgedPair], first: ContenderName, second: ContenderName) -> PairwiseFindings:
    """Inconsistency, love of first places, length control; of the rows with verdicts."""
    asked = [pair for pair in judged if pair.verdicts and not pair.problem]
    scored = [pair for pair in judged if not pair.problem]
    record: dict[str, Any] = {"num_equal_answers": len(scored) - len(asked)}
    figures: dict[str, float] = {}
    notes: list[str] = []
    if asked:
        changed = sum(pair.points[0] != pair.points[1] for pair in asked)
        rate = wilson(changed, len(asked))
        record["inconsistency"] = {"num_changed": changed, "num_rows": len(asked), **rate.to_json()}
        figures["inconsistency_rate"] = rate.mean
        notes.append(
            f"The order of the two answers changed the verdict on {changed} of {len(asked)} rows "
            f"({_percent(rate.mean)}, 95 % interval {_percent(rate.low)} to {_percent(rate.high)})."
        )
        places = Counter(verdict.value for pair in asked for verdict in pair.verdicts)
        if decided := places["A"] + places["B"]:
            share = wilson(places["A"], decided)
            record["shown_first_wins"] = share.to_json()
            is_bias = "" if share.low <= 0.5 <= share.high else ": the judge goes by the place too"
            notes.append(
                f"The answer shown first won {_percent(share.mean)} of the verdicts that were no tie "
                f"({_percent(share.low)} to {_percent(share.high)}){is_bias}. Both orders were asked: neither side gains by it."
            )
    if len(scored) > len(asked):
        notes.append(f"Rows with equal answers: {len(scored) - len(asked)}, ties that were not asked about.")
    lengths = [[len(pair.row.text(name)) for pair in asked] for name in (first, second)]
    control = length_controlled([sum(pair.points) / 2 for pair in asked], *lengths) if asked else None
    record["length_controlled"] = None if control is None else control.to_json()
    if control is not None:
        rate = control.win_rate
        figures["length_controlled_win_rate"] = rate.mean
        notes.append(
            f"If both answers were equally long {first} would win {_percent(rate.mean)} of the rows that were asked about "
            f"({_percent(rate.low)} to {_percent(rate.high)}; logistic regression on the difference in length). Its answers are "
            f"{control.length_ratio:.2f} times as long as those of {second}."
        )
    return PairwiseFindings(figures, tuple(notes), record)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
