"""The whole recipe: one section per question, and the defaults that depend on other fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic import Field, field_validator

from luthier.config.adapter import AdapterSection, LoraSection
from luthier.config.data import DataSection
from luthier.config.evaluate import EvaluateSection
from luthier.config.model import ModelSection
from luthier.config.objective import ObjectiveSection, PretrainSection, SftSection
from luthier.config.precision import PrecisionSection
from luthier.config.run import RunSection
from luthier.config.section import Section
from luthier.config.train import TrainSection

LEARNING_RATE_ADAPTER = 2e-4
LEARNING_RATE_FULL = 2e-5
LEARNING_RATE_PREFERENCE_ADAPTER = 5e-5
LEARNING_RATE_PREFERENCE_FULL = 1e-6
"""Preference losses keep pulling where imitation is done: at imitation's rates policies run away from their reference."""


class Recipe(Section):
    """Everything that decides what a training run does."""

    model: ModelSection
    """Which model is tuned, and how its attention is computed."""

    data: DataSection
    """What is learnt from."""

    run: RunSection
    """Where everything about the run is kept."""

    objective: ObjectiveSection = Field(default_factory=SftSection)
    """What is optimised."""

    adapter: AdapterSection = Field(default_factory=LoraSection)
    """Which parameters are trained: a LoRA adapter (`kind: lora`, the default) or all (`kind: none`)."""

    precision: PrecisionSection = Field(default_factory=PrecisionSection)
    """Number formats."""

    train: TrainSection = Field(default_factory=TrainSection)
    """The optimisation."""

    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)
    """What is measured after training."""

    @field_validator("adapter", mode="before")
    @classmethod
    def _lora_unless_said_otherwise(cls, value: object) -> object:
        """``adapter: {rank: 8}`` needs no kind."""
        if isinstance(value, Mapping) and "kind" not in value:
            return {"kind": "lora", **cast("Mapping[str, Any]", value)}
        return cast("object", value)

    @property
    def compares(self) -> bool:
        """Whether the objective compares or judges answers instead of imitating them."""
        return not isinstance(self.objective, SftSection | PretrainSection)

    @property
    def is_full(self) -> bool:
        """Whether every parameter is trained."""
        return self.adapter.kind == "none"
