"""What a run is: strict sections, one file each. Nothing here imports torch."""

from luthier.config.adapter import AdapterSection, ExistingSection, FullSection, LoraSection, PeftSection
from luthier.config.data import DataSection
from luthier.config.evaluate import EvaluateSection
from luthier.config.model import AttentionChoice, ModelSection
from luthier.config.objective import ObjectiveSection, SftSection
from luthier.config.precision import PrecisionSection
from luthier.config.recipe import Recipe
from luthier.config.run import RunSection
from luthier.config.train import TrainSection

__all__ = [
    "AdapterSection",
    "AttentionChoice",
    "DataSection",
    "EvaluateSection",
    "ExistingSection",
    "FullSection",
    "LoraSection",
    "ModelSection",
    "ObjectiveSection",
    "PeftSection",
    "PrecisionSection",
    "Recipe",
    "RunSection",
    "SftSection",
    "TrainSection",
]
