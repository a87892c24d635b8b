"""From a recipe's objective section to the mathematics, and what rows it learns from."""

from __future__ import annotations

from luthier.accel.reference import LiveReference, frozen_copy
from luthier.accel.scorer import ScoringModel
from luthier.config.objective import (
    CpoSection,
    DpoSection,
    KtoSection,
    ObjectiveSection,
    OrpoSection,
    PretrainSection,
    SimpoSection,
)
from luthier.data.row_kinds import RowKind
from luthier.objectives.base import Objective
from luthier.objectives.cpo import Cpo
from luthier.objectives.dpo import Dpo
from luthier.objectives.kto import Kto
from luthier.objectives.orpo import Orpo
from luthier.objectives.pretrain import Pretrain
from luthier.objectives.reference import CachedReference, Reference
from luthier.objectives.sft import Sft
from luthier.objectives.simpo import Simpo

OBJECTIVES: dict[str, type[Objective]] = {kind.name: kind for kind in (Sft, Pretrain, Dpo, Orpo, Simpo, Cpo, Kto)}
"""By the name that `objective.name` uses."""


def rows_needed(section: ObjectiveSection) -> RowKind:
    """Kind of rows that the objective learns from."""
    return OBJECTIVES[section.name].needs


def overlap_tokens(section: ObjectiveSection) -> int:
    """Tokens that a later piece of a document repeats of the one before; only `pretrain` may ask for more than one."""
    return section.overlap_tokens if isinstance(section, PretrainSection) else 1


def build_objective(section: ObjectiveSection, scoring: ScoringModel, *, is_full: bool) -> Objective:
    """The objective of a section.

    Args:
        section: Of the recipe.
        scoring: The model before training; a live reference keeps it, or in full fine-tuning a frozen copy of it.
        is_full: Whether the model's own parameters are trained.
    """
    if isinstance(section, DpoSection):
        return Dpo(
            _reference(section, scoring, is_full),
            loss=section.loss,
            beta=section.beta,
            label_smoothing=section.label_smoothing,
            sft_weight=section.sft_weight,
        )
    if isinstance(section, KtoSection):
        return Kto(
            _reference(section, scoring, is_full),
            beta=section.beta,
            good_weight=section.good_weight,
            bad_weight=section.bad_weight,
        )
    if isinstance(section, OrpoSection):
        return Orpo(weight=section.weight)
    if isinstance(section, SimpoSection):
        return Simpo(beta=section.beta, gamma=section.gamma, sft_weight=section.sft_weight)
    if isinstance(section, CpoSection):
        return Cpo(
            loss=section.loss,
            beta=section.beta,
            sft_weight=section.sft_weight,
            label_smoothing=section.label_smoothing,
        )
    return Pretrain() if isinstance(section, PretrainSection) else Sft(section.label_smoothing)


def _reference(section: DpoSection | KtoSection, scoring: ScoringModel, is_full: bool) -> Reference:
    if section.reference == "cached":
        return CachedReference()
    return LiveReference(frozen_copy(scoring) if is_full else scoring)
