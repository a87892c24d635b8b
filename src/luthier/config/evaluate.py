"""What is measured beside the validation loss, during training and after it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from luthier.config.section import Section


class EvaluateSection(Section):
    """Evaluation of the run against its base model, on the way and at its end."""

    tasks: tuple[str, ...] = ()
    """Tasks to run on base and tuned model: built-in names, paths of task files, or known data sets (gsm8k:test.jsonl)."""

    general: Literal["auto", "always", "never"] = "auto"
    """The general suite on base and tuned model after training, to see what was forgotten. auto: where it is expected to take at
    most a tenth of the training's time, or where `forgetting_tolerance` is set."""

    forgetting_tolerance: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Loss on a part of the general suite that is accepted: 0.1 is ten points, of bits per byte a tenth. More than that, shown by
    the 95 % interval, fails the check evaluation.forgetting. None: losses are told, and nothing fails."""

    during: tuple[str, ...] = ()
    """Tasks answered at each validation (as in `tasks`; general: the suite), greedily: their scores over time."""

    during_rows: int = Field(default=32, ge=1)
    """Rows asked of each task in `during`, the first ones."""

    best_by: str = "loss"
    """What the best checkpoint and patience go by: loss, or TASK.METRIC of a task in `during`."""

    stop_when_forgotten: bool = False
    """Stop at the first validation that shows a loss beyond `forgetting_tolerance`; `during` must hold general or parts of it."""

    stop_test_rows: int = Field(default=16, ge=0)
    """Validation prompts that base and tuned model answer, to see whether the tuned one stops by itself; 0: skip."""

    sample_prompts: int = Field(default=3, ge=0)
    """Validation prompts that the model answers (in at most 64 tokens) at each validation, to watch it learn; 0: none."""

    max_new_tokens: int = Field(default=128, ge=1)
    """Longest answer that is generated in evaluation, in tokens."""

    batch_size: int = Field(default=32, ge=1)
    """Answers generated at once."""

    @model_validator(mode="after")
    def _measured_during_training(self) -> EvaluateSection:
        """What is decided by tasks during training needs such tasks."""
        if self.best_by != "loss" and "." not in self.best_by:
            raise ValueError(f"best_by must be loss or TASK.METRIC, such as sql.accuracy, not '{self.best_by}'")
        if self.best_by != "loss" and not self.during:
            raise ValueError(
                f"best_by {self.best_by} needs the task among `during`, e.g. during: [{self.best_by.rpartition('.')[0]}]"
            )
        if self.stop_when_forgotten and self.forgetting_tolerance is None:
            raise ValueError("stop_when_forgotten needs a forgetting_tolerance, e.g. forgetting_tolerance: 0.1")
        if self.stop_when_forgotten and not any(name.startswith("general") for name in self.during):
            raise ValueError("stop_when_forgotten needs the suite among `during`, e.g. during: [general]")
        return self
