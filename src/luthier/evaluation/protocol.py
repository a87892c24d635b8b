"""What a task and a scorer are. Small on purpose: a task is rows and a scorer, a scorer turns an answer into a number.

There are two kinds of scorers. A `Scorer` reads the answer that a model wrote; a `LikelihoodScorer` is told how probable the
model finds texts that are given, and nothing is generated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from luthier.types import Message


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One question.

    Attributes:
        id: Stable name of the row within its task.
        messages: The prompt, without the answer; empty where a text stands alone (perplexity).
        reference: What the scorer compares with; its meaning is the scorer's.
        slices: Named groups the row belongs to, e.g. {"kind": "join"}.
        follow_ups: Further questions, each asked after the model's own answer to the one before.
    """

    id: str
    messages: tuple[Message, ...]
    reference: Any
    slices: Mapping[str, str] = field(default_factory=dict)
    follow_ups: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """What is asked, for people."""
        asked = [self.messages[-1].content] if self.messages else []
        return "\n\n".join([*asked, *self.follow_ups])


@dataclass(frozen=True, slots=True)
class Score:
    """Verdict on one answer.

    Attributes:
        value: From 0 (wrong) to 1 (right), unless the scorer measures something else (bits per byte).
        why: In words.
        found: What was read out of the answer (a number, a label); None where nothing could be.
        measures: Further numbers about the same answer; their means are reported beside the metric.
        weight: How much the row counts in the mean (bytes, for bits per byte).
    """

    value: float
    why: str
    found: str | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0


class Judged(NamedTuple):
    """A row with its score: what figures over all rows are made of."""

    row: TaskRow
    score: Score


class Likelihood(NamedTuple):
    """How probable a model finds a text.

    Attributes:
        logprob: Sum of log p of its tokens, in nats.
        num_bytes: Of the text in UTF-8.
    """

    text: str
    logprob: float
    num_tokens: int
    num_bytes: int


class Judge(Protocol):
    """What both kinds of scorers have.

    Attributes:
        name: Short, unique, stable.
        metric: What the mean of the scores is called (`execution_accuracy`).
        lower_is_better: Whether a smaller mean is the better one.
        is_share: Whether scores lie between 0 and 1 and are shown in percent.
        figures: Names of the `measures` of its scores and of what `summarise` gives.
    """

    name: str
    metric: str = "score"
    lower_is_better: bool = False
    is_share: bool = True
    figures: tuple[str, ...] = ()

    def reference_problem(self, reference: Any) -> str:
        """Why a reference cannot be used; empty where it can. Asked before any model is loaded."""
        del reference
        return ""

    def summarise(self, judged: Sequence[Judged]) -> dict[str, Any]:
        """Figures that are no mean over rows (macro-F1, corpus BLEU); numbers, or tables for the report."""
        del judged
        return {}


class Scorer(Judge, Protocol):
    """Judges answers. Must not raise on any text: a broken answer is a wrong answer."""

    def score(self, row: TaskRow, answer: str) -> Score:
        """Judge one answer."""
        ...


@runtime_checkable
class LikelihoodScorer(Judge, Protocol):
    """Judges by the probability of given texts.

    Attributes:
        prompt_format: ``chat``: the texts are answers, behind the prompt as the inference contract renders it. ``text``: they
            go on from the prompt's bare text, or stand alone where there is none.
    """

    prompt_format: Literal["chat", "text"] = "chat"

    def continuations(self, row: TaskRow) -> Sequence[str]:
        """The texts whose probability it wants."""
        ...

    def judge(self, row: TaskRow, likelihoods: Sequence[Likelihood]) -> Score:
        """Judge one row by them, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Generation:
    """How answers are made, the same for all contenders.

    Attributes:
        max_new_tokens: Longest answer that makes sense.
        samples: Answers to each question. One is greedy; several are drawn, and a row's score is their mean.
        temperature: Of drawn answers; greedy ones have 0.
        top_p: Only the most probable tokens that together reach this share are drawn from.
        pass_at: The k of pass@k, each at most `samples`.
        seed: Makes drawn answers repeat.
    """

    max_new_tokens: int
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    pass_at: tuple[int, ...] = ()
    seed: int = 0


class Task(Protocol):
    """A set of questions with a way to judge the answers.

    Attributes:
        name: Short, unique, stable.
    """

    name: str
    generation: Generation

    @property
    def scorer(self) -> Scorer | LikelihoodScorer:
        """How answers are judged; its `metric` is what the task's result is called by."""
        ...

    def rows(self) -> Sequence[TaskRow]:
        """The questions, in a fixed order."""
        ...

    def few_shot(self) -> Sequence[Message]:
        """Messages put between system prompt and question for the few-shot contender; empty: there is none."""
        ...
