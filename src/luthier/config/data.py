"""Which data are learnt from, how rows are read, and what happens to rows that do not fit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from luthier.config.section import Section

FormatChoice = Literal[
    "auto", "messages", "sharegpt", "alpaca", "dolly", "flan", "prompt_completion", "question_answer", "text"
]


def _one_is_a_list_of_one(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Paths = Annotated[tuple[str, ...], BeforeValidator(_one_is_a_list_of_one, json_schema_input_type=str | tuple[str, ...])]


class DataSection(Section):
    """Training and validation data."""

    train: Paths = Field(min_length=1)
    """Files (jsonl, json, csv, tsv, parquet, arrow, txt, md; also as .gz or .zst), folders or patterns (data/*.jsonl) to learn
    from; one path or a list. Relative paths start at the recipe's folder. demo:shop-sql is the built-in example;
    hub:owner/name is a data set of the Hugging Face hub."""

    validation: Paths = ()
    """Files held out for validation. Empty: `validation_fraction` of the training rows is split off."""

    validation_fraction: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the training rows (by content hash, groups of equal prompts kept together) that is held out; 0 to 1."""

    format: FormatChoice = "auto"
    """How rows are laid out. auto looks at the columns and says what it recognised."""

    columns: dict[str, str] = Field(default_factory=dict)
    """Which column plays which part, where names differ: e.g. {prompt: question, completion: answer}."""

    system_prompt: str | None = None
    """System message put before conversations that have none; saved with the run and used when it is served."""

    max_length: int | None = Field(default=None, ge=8)
    """Longest row in tokens. None: as long as the longest row, up to what the model was built for."""

    overlong: Literal["drop", "truncate", "error"] = "drop"
    """What happens to a longer row: drop it by name, truncate it (lost answer tokens are reported), or stop."""

    limit: int | None = Field(default=None, ge=1)
    """Use only the first rows (after reading, before the split); for trying things out."""
