"""What an evaluation found: answers row by row, means with intervals, paired comparisons; and how it is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from luthier.evaluation.compare import Comparison, compare
from luthier.evaluation.contenders import ContenderName, title_of
from luthier.evaluation.overlap import Overlap
from luthier.evaluation.protocol import Judge, Judged, Score, TaskRow
from luthier.evaluation.slices import slice_differences, slice_means
from luthier.evaluation.statistics.intervals import Interval
from luthier.evaluation.statistics.paired import mean_score
from luthier.generate.protocol import FinishReason
from luthier.runs.folder import RunFolder


class Sample(NamedTuple):
    """One of several answers to a question."""

    text: str
    score: float
    why: str


@dataclass(frozen=True)
class Answer:
    """One contender's answer to one question.

    Attributes:
        prompt: The text that went into the model, special tokens included.
        text: What was answered; where nothing was generated, what the scorer found.
        finish_reason: None where nothing was generated.
        num_tokens: Length of the answer, its stop token included; of all texts that were measured.
        turns: The answers one by one, where there were follow-ups.
        samples: All of them, where there are several.
    """

    row: TaskRow
    contender: ContenderName
    prompt: str
    text: str
    score: Score
    finish_reason: FinishReason | None
    num_tokens: int
    turns: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the model was asked and said nothing, in none of its turns."""
        return self.finish_reason is not None and not self.text.strip()

    def to_json(self) -> dict[str, Any]:
        """One line of rows.jsonl."""
        content: dict[str, Any] = {
            "id": self.row.id,
            "contender": self.contender,
            "question": self.row.question,
            "reference": self.row.reference,
            "prompt": self.prompt,
            "answer": self.text,
            "score": self.score.value,
            "why": self.score.why,
            "slices": dict(self.row.slices),
            "finish_reason": self.finish_reason,
            "num_tokens": self.num_tokens,
        }
        said_before = [m for m in self.row.messages[:-1] if m.role != "system"]
        if said_before:  # the question alone does not say what was asked
            last = {"role": "user", "content": self.row.question}
            content["messages"] = [*({"role": m.role, "content": m.content} for m in said_before), last]
        if self.score.found is not None:
            content["found"] = self.score.found
        if self.score.weight != 1.0:
            content["weight"] = self.score.weight
        if self.score.measures:
            content["measures"] = dict(self.score.measures)
        if len(self.turns) > 1:
            content["turns"] = list(self.turns)
        if self.samples:
            content["samples"] = [sample._asdict() for sample in self.samples]
        return content


@dataclass(frozen=True)
class ContenderResult:
    """All answers of one contender, in the order of the rows.

    Attributes:
        figures: What the scorer works out over all rows: numbers by name, and tables.
    """

    name: ContenderName
    answers: tuple[Answer, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: ContenderName, scorer: Judge, answers: tuple[Answer, ...]) -> ContenderResult:
        """With the scorer's figures."""
        return cls(name, answers, scorer.summarise([Judged(answer.row, answer.score) for answer in answers]))

    @property
    def scores(self) -> list[float]:
        """One score for each row."""
        return [answer.score.value for answer in self.answers]

    @property
    def weights(self) -> list[float] | None:
        """How much each row counts; None where all count alike."""
        weights = [answer.score.weight for answer in self.answers]
        return None if all(weight == 1.0 for weight in weights) else weights

    @cached_property
    def mean(self) -> Interval:
        """Mean score with its 95 % interval."""
        return mean_score(self.scores, weights=self.weights)

    @cached_property
    def measures(self) -> dict[str, Interval]:
        """Means of what the scorer measures beside its metric, by name, with intervals; over the rows that have it."""
        names = dict.fromkeys(name for answer in self.answers for name in answer.score.measures)
        values = {name: [a.score.measures[name] for a in self.answers if name in a.score.measures] for name in names}
        # Unequal weights lift the assumption that values lie in 0 to 1, which measures need not.
        return {
            name: mean_score(each, weights=None if _are_shares(each) else [1.0] * len(each))
            for name, each in values.items()
        }

    def numbers(self) -> dict[str, float]:
        """Means of measures, and the figures that are numbers, by name."""
        means = {name: interval.mean for name, interval in self.measures.items()}
        return means | {name: value for name, value in self.figures.items() if isinstance(value, int | float)}

    @property
    def share_stopped(self) -> float | None:
        """Share of the answers that the model ended by itself; None where nothing was generated."""
        ends = [answer.finish_reason for answer in self.answers if answer.finish_reason is not None]
        return sum(end == "stop" for end in ends) / len(ends) if ends else None

    @property
    def num_empty(self) -> int:
        """Questions that were answered with nothing."""
        return sum(answer.is_empty for answer in self.answers)

    def by_slice(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean, shrunk mean and number of rows in each group of each slice, e.g. ["kind"]["join"]["mean"]."""
        return slice_means([answer.row.slices for answer in self.answers], self.scores, self.weights)

    def to_json(self, metric: str) -> dict[str, Any]:
        """Its part of summary.json; the mean stands under the name of the metric."""
        content: dict[str, Any] = {
            "title": title_of(self.name),
            metric: self.mean.mean,
            "low": self.mean.low,
            "high": self.mean.high,
            "rows": len(self.answers),
            "mean_answer_tokens": sum(answer.num_tokens for answer in self.answers) / len(self.answers),
            "slices": self.by_slice(),
            "measures": {name: interval.to_json() for name, interval in self.measures.items()},
            "figures": dict(self.figures),
        }
        if self.share_stopped is not None:
            content |= {"share_stopped": self.share_stopped, "num_empty": self.num_empty}
        return content


def _are_shares(values: Sequence[float]) -> bool:
    return all(0 <= value <= 1 for value in values)


@dataclass(frozen=True)
class TaskResult:
    """One task, answered by all contenders.

    Attributes:
        lower_is_better: Whether a smaller mean is the better one.
        is_share: Whether scores lie between 0 and 1 and are shown in percent.
        overlap: Rows that the training data have too; None where it was not looked for.
        notes: What a reader has to know of it, in sentences.
        record: Further parts of the summary, by name.
    """

    task: str
    metric: str
    scorer: str
    contenders: tuple[ContenderResult, ...]
    seconds: float
    lower_is_better: bool = False
    is_share: bool = True
    overlap: Overlap | None = None
    notes: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: ContenderName) -> ContenderResult:
        return next(c for c in self.contenders if c.name == name)

    def __contains__(self, name: ContenderName) -> bool:
        return any(c.name == name for c in self.contenders)

    @property
    def num_rows(self) -> int:
        """Questions asked."""
        return len(self.contenders[0].answers)

    def comparison(self, first: ContenderName, second: ContenderName, rows: Sequence[int] | None = None) -> Comparison:
        """First minus second, row by row; on all rows, or on some by their numbers."""
        chosen = range(self.num_rows) if rows is None else rows
        a, b, weights = self[first].scores, self[second].scores, self[first].weights
        return compare(
            [a[row] for row in chosen],
            [b[row] for row in chosen],
            names=(first, second),
            weights=None if weights is None else [weights[row] for row in chosen],
            lower_is_better=self.lower_is_better,
            is_share=self.is_share,
        )

    @cached_property
    def _comparisons(self) -> list[Comparison]:
        return [self.comparison(a, b) for a, b in self._compared()]

    def comparisons(self) -> list[Comparison]:
        """Tuned against each of the others."""
        return self._comparisons

    def clean_comparisons(self) -> list[Comparison]:
        """The comparisons on the rows that the training data do not have; none where all are such rows, or none."""
        clean = self.overlap.clean_rows(self.num_rows) if self.overlap and self.overlap.matches else []
        return [self.comparison(a, b, clean) for a, b in self._compared()] if clean else []

    def slice_differences(self, first: ContenderName, second: ContenderName) -> dict[str, dict[str, dict[str, float]]]:
        """First minus second in each group of each slice, shrunk towards what all groups have in common."""
        pairs = zip(self[first].scores, self[second].scores, strict=True)
        slices = [answer.row.slices for answer in self[first].answers]
        return slice_differences(slices, [a - b for a, b in pairs], self[first].weights)

    def answers(self) -> Iterator[Answer]:
        """Row by row, within a row contender by contender."""
        for together in zip(*(c.answers for c in self.contenders), strict=True):
            yield from together

    def to_json(self) -> dict[str, Any]:
        """summary.json."""
        return {
            "task": self.task,
            "metric": self.metric,
            "scorer": self.scorer,
            "num_rows": self.num_rows,
            "lower_is_better": self.lower_is_better,
            "is_share": self.is_share,
            "seconds": round(self.seconds, 2),
            "contenders": {c.name: c.to_json(self.metric) for c in self.contenders},
            "comparisons": [
                {**c.to_json(), "slices": self.slice_differences(a, b)}
                for c, (a, b) in zip(self.comparisons(), self._compared(), strict=True)
            ],
            "overlap": self._overlap_to_json(),
            **({"notes": list(self.notes)} if self.notes else {}),
            **self.record,
        }

    def _compared(self) -> list[tuple[ContenderName, ContenderName]]:
        return [("tuned", c.name) for c in self.contenders if c.name != "tuned"] if "tuned" in self else []

    def _overlap_to_json(self) -> dict[str, Any] | None:
        """Rows that the training data have too, and the result without them."""
        if self.overlap is None:
            return None
        content: dict[str, Any] = {**self.overlap.to_json(), "without": None}
        clean = self.overlap.clean_rows(self.num_rows)
        if self.overlap.matches and clean:
            content["without"] = {
                "num_rows": len(clean),
                "contenders": {c.name: self._mean_of(c, clean).to_json() for c in self.contenders},
                "comparisons": [comparison.to_json() for comparison in self.clean_comparisons()],
            }
        return content

    def _mean_of(self, contender: ContenderResult, rows: Sequence[int]) -> Interval:
        weights = contender.weights
        chosen = None if weights is None else [weights[row] for row in rows]
        return mean_score([contender.scores[row] for row in rows], weights=chosen)


def save_result(folder: RunFolder, result: TaskResult, markdown: str) -> None:
    """Write evaluation/<task>/rows.jsonl, summary.md and, last, summary.json: a summary stands only beside its rows."""
    place = f"evaluation/{result.task}"
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / f"{place}/summary.json").unlink(missing_ok=True)
    folder.write_text(f"{place}/rows.jsonl", _lines(list(result.answers())))
    folder.write_text(f"{place}/summary.md", markdown)
    folder.write_json(f"{place}/summary.json", result.to_json())


def _lines(answers: Sequence[Answer]) -> str:
    return "".join(json.dumps(answer.to_json(), ensure_ascii=False) + "\n" for answer in answers)
