"""What is known of somebody's wish: as it was said, and as it was measured. None is unknown, which is an answer too."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

DataKind = Literal["chat", "text", "preference", "kto", "classification"]
BaselineVerdict = Literal["suffices", "falls short", "unclear", "too few rows"]


@dataclass(frozen=True)
class Situation:
    """A wish and what is known about it.

    Attributes:
        task: In a word or two: code, maths, chat, …; picks the base model.
        fresh_knowledge: Answers depend on what changed since the model was made.
        private_documents: Answers stand in documents of one's own.
        changes_often: What is to be known changes at least monthly.
        privacy: Questions or data must not leave the house.
        style_only: Only tone, style or form is to change.
        strict_format: Each answer must have one exact format.
        persona: A character or brand voice is wanted.
        inconsistent: A prompt gives good answers, and not always.
        few_shot_tried: Worked examples in the prompt were tried.
        prompt_suffices: A prompt gives answers that are good enough; said, or measured.
        verifiable: A program can tell right answers from wrong ones.
        volume: Requests a day.
        latency_ms: Most milliseconds until the answer.
        has_evaluation: There are questions to measure with.
        rows: Number of examples.
        kind: What the examples are.
        conflict_share: Share of rows that contradict others.
        data_errors: Rules of the data check that found errors.
        baseline: What was measured with prompts alone.
        best: The better prompt, in words.
        measured: Its score with interval, in words.
        target: Score from which on a prompt is good enough.
        rows_needed: Evaluation rows that would tell.
        num_eval_rows: Evaluation rows that there were.
        examples_effect: What worked examples did to the score, compared row by row.
        examples_measured: The same in words.
    """

    task: str | None = None
    fresh_knowledge: bool | None = None
    private_documents: bool | None = None
    changes_often: bool | None = None
    privacy: bool | None = None
    style_only: bool | None = None
    strict_format: bool | None = None
    persona: bool | None = None
    inconsistent: bool | None = None
    few_shot_tried: bool | None = None
    prompt_suffices: bool | None = None
    verifiable: bool | None = None
    volume: int | None = None
    latency_ms: int | None = None
    has_evaluation: bool | None = None
    rows: int | None = None
    kind: DataKind | None = None
    conflict_share: float | None = None
    data_errors: int | None = None
    baseline: BaselineVerdict | None = None
    best: str | None = None
    measured: str | None = None
    target: float | None = None
    rows_needed: int | None = None
    num_eval_rows: int | None = None
    examples_effect: str | None = None
    examples_measured: str | None = None

    def facts(self) -> dict[str, Any]:
        """What is known, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
