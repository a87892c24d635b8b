"""The whole recipe: one section per question, and the defaults that depend on other fields."""

from __future__ import annotations

from pydantic import Field

from luthier.config.adapter import AdapterSection, LoraSection
from luthier.config.data import DataSection
from luthier.config.evaluate import EvaluateSection
from luthier.config.model import ModelSection
from luthier.config.objective import ObjectiveSection, SftSection
from luthier.config.precision import PrecisionSection
from luthier.config.run import RunSection
from luthier.config.section import Section
from luthier.config.train import TrainSection

LEARNING_RATE_ADAPTER = 2e-4
LEARNING_RATE_FULL = 2e-5


class Recipe(Section):
    """Everything that decides what a training run does."""

    model: ModelSection
    data: DataSection
    run: RunSection
    objective: ObjectiveSection = Field(default_factory=SftSection)
    adapter: AdapterSection = Field(default_factory=LoraSection)
    precision: PrecisionSection = Field(default_factory=PrecisionSection)
    train: TrainSection = Field(default_factory=TrainSection)
    evaluate: EvaluateSection = Field(default_factory=EvaluateSection)

    @property
    def is_full(self) -> bool:
        """Whether every parameter is trained."""
        return self.adapter.kind == "none"
