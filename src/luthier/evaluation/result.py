"""What an evaluation found: answers row by row, means with intervals, paired comparisons; and how it is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from luthier.evaluation.compare import Comparison, Interval, compare, mean_score
from luthier.evaluation.contenders import TITLES, ContenderName
from luthier.evaluation.protocol import Score, TaskRow
from luthier.generate.protocol import FinishReason
from luthier.runs.folder import RunFolder

COMPARED: tuple[tuple[ContenderName, ContenderName], ...] = (("tuned", "base"), ("tuned", "few_shot"))


@dataclass(frozen=True)
class Answer:
    """One contender's answer to one question.

    Attributes:
        prompt: The text that went into the model, special tokens included.
        num_tokens: Length of the answer, its stop token included.
    """

    row: TaskRow
    contender: ContenderName
    prompt: str
    text: str
    score: Score
    finish_reason: FinishReason
    num_tokens: int

    def to_json(self) -> dict[str, Any]:
        """One line of rows.jsonl."""
        return {
            "id": self.row.id,
            "contender": self.contender,
            "question": self.row.messages[-1].content,
            "reference": self.row.reference,
            "prompt": self.prompt,
            "answer": self.text,
            "score": self.score.value,
            "why": self.score.why,
            "slices": dict(self.row.slices),
            "finish_reason": self.finish_reason,
            "num_tokens": self.num_tokens,
        }


@dataclass(frozen=True)
class ContenderResult:
    """All answers of one contender, in the order of the rows."""

    name: ContenderName
    answers: tuple[Answer, ...]

    @property
    def scores(self) -> list[float]:
        """One score for each row."""
        return [answer.score.value for answer in self.answers]

    @property
    def mean(self) -> Interval:
        """Mean score with its 95 % interval."""
        return mean_score(self.scores)

    @property
    def share_stopped(self) -> float:
        """Share of the answers that the model ended by itself."""
        return sum(answer.finish_reason == "stop" for answer in self.answers) / len(self.answers)

    def by_slice(self) -> dict[str, dict[str, dict[str, float]]]:
        """Mean and number of rows in each group of each slice, e.g. ["kind"]["join"]["mean"]."""
        groups: dict[str, dict[str, list[float]]] = {}
        for answer in self.answers:
            for slice_name, group in answer.row.slices.items():
                groups.setdefault(slice_name, {}).setdefault(group, []).append(answer.score.value)
        return {
            slice_name: {
                group: {"mean": sum(scores) / len(scores), "num_rows": len(scores)}
                for group, scores in sorted(members.items())
            }
            for slice_name, members in groups.items()
        }

    def to_json(self, metric: str) -> dict[str, Any]:
        """Its part of summary.json; the mean stands under the name of the metric."""
        mean = self.mean
        return {
            "title": TITLES[self.name],
            metric: mean.mean,
            "low": mean.low,
            "high": mean.high,
            "rows": len(self.answers),
            "share_stopped": self.share_stopped,
            "mean_answer_tokens": sum(answer.num_tokens for answer in self.answers) / len(self.answers),
            "slices": self.by_slice(),
        }


@dataclass(frozen=True)
class TaskResult:
    """One task, answered by all contenders."""

    task: str
    metric: str
    scorer: str
    contenders: tuple[ContenderResult, ...]
    seconds: float

    def __getitem__(self, name: ContenderName) -> ContenderResult:
        return next(c for c in self.contenders if c.name == name)

    def __contains__(self, name: ContenderName) -> bool:
        return any(c.name == name for c in self.contenders)

    @property
    def num_rows(self) -> int:
        """Questions asked."""
        return len(self.contenders[0].answers)

    def comparison(self, first: ContenderName, second: ContenderName) -> Comparison:
        """First minus second, row by row."""
        return compare(self[first].scores, self[second].scores, names=(first, second))

    def comparisons(self) -> list[Comparison]:
        """Tuned against each of the others."""
        return [self.comparison(a, b) for a, b in COMPARED if a in self and b in self]

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
            "seconds": round(self.seconds, 2),
            "contenders": {c.name: c.to_json(self.metric) for c in self.contenders},
            "comparisons": [c.to_json() for c in self.comparisons()],
        }


def save_result(folder: RunFolder, result: TaskResult) -> None:
    """Write evaluation/<task>/rows.jsonl and, last, summary.json: a summary stands only beside its rows."""
    place = f"evaluation/{result.task}"
    (folder / place).mkdir(parents=True, exist_ok=True)
    (folder / f"{place}/summary.json").unlink(missing_ok=True)
    folder.write_text(f"{place}/rows.jsonl", _lines(list(result.answers())))
    folder.write_json(f"{place}/summary.json", result.to_json())


def _lines(answers: Sequence[Answer]) -> str:
    return "".join(json.dumps(answer.to_json(), ensure_ascii=False) + "\n" for answer in answers)
