"""What is measured after training, beside the validation loss."""

from __future__ import annotations

from pydantic import Field

from luthier.config.section import Section


class EvaluateSection(Section):
    """Evaluation of the finished run against its base model."""

    tasks: tuple[str, ...] = ()
    """Tasks to run on base and tuned model: built-in names, paths of task files, or known data sets (gsm8k:test.jsonl)."""

    stop_test_rows: int = Field(default=16, ge=0)
    """Validation prompts that base and tuned model answer, to see whether the tuned one stops by itself; 0: skip."""

    sample_prompts: int = Field(default=3, ge=0)
    """Validation prompts that the model answers (in at most 64 tokens) at each validation, to watch it learn; 0: none."""

    max_new_tokens: int = Field(default=128, ge=1)
    """Longest answer that is generated in evaluation, in tokens."""

    batch_size: int = Field(default=32, ge=1)
    """Answers generated at once."""
