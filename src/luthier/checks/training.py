"""While training: the gradient is there, what should move moves, what is frozen stays."""

from __future__ import annotations

import math

from torch import nn

from luthier.models.adapters import frozen_parameters
from luthier.models.fingerprint import fingerprint
from luthier.training.optim import MasterAdamW
from luthier.training.step import StepResult
from luthier.types import Check

STEPS_UNTIL_MOVED = 3
"""LoRA's A has no gradient while B is zero, so it moves from the second step on; one more for a skipped fp16 step."""


class FirstSteps:
    """Watches the first optimiser steps; made before them, told of each, asked for the checks once `is_due`."""

    def __init__(self, optimizer: MasterAdamW, total_steps: int) -> None:
        self._optimizer = optimizer
        self._before = self._fingerprints()
        self._last_step = min(STEPS_UNTIL_MOVED, total_steps)
        self._norms: list[float] = []
        self._applied = 0

    def _fingerprints(self) -> dict[str, str]:
        return {name: fingerprint({name: master}) for name, master in self._optimizer.masters.items()}

    def observe(self, result: StepResult) -> None:
        """Take note of a step."""
        self._norms.append(result.grad_norm)
        self._applied += result.applied

    def is_due(self) -> bool:
        """Whether enough updates were applied; steps that a loss scale skipped do not count."""
        return self._applied == self._last_step

    def checks(self) -> list[Check]:
        """Gradient non-zero; every trained tensor moved."""
        after = self._fingerprints()
        still = [name for name, before in self._before.items() if after[name] == before]
        if self._last_step < 2:  # one step cannot move LoRA's A: its gradient is zero while B is
            still = [name for name in still if "lora_A" not in name]
        finite = [norm for norm in self._norms if math.isfinite(norm)]
        return [
            Check(
                name="training.gradient",
                claim=f"The gradient of the first {len(self._norms)} steps is not zero.",
                measured=float(f"{min(finite, default=0.0):.3g}"),
                limit="> 0",
                unit="",
                passed=bool(finite) and min(finite) > 0,
                advice="Nothing reaches the trained weights: labels may be masked, or the adapter may be detached.",
            ),
            Check(
                name="training.moved",
                claim=f"Every trained tensor has changed after {self._last_step} steps.",
                measured=f"{len(after) - len(still)} of {len(after)}" + (f", not {still[0]}" if still else ""),
                limit=f"{len(after)} of {len(after)}",
                unit="",
                passed=not still,
                advice="Tensors without a gradient are not part of the computation: check adapter.target_modules.",
            ),
        ]


def frozen_fingerprint(model: nn.Module) -> str:
    """Fingerprint of everything that must not change."""
    return fingerprint(frozen_parameters(model))


def frozen_unchanged(before: str, model: nn.Module) -> Check:
    """Frozen weights are bit for bit what they were before training."""
    after = frozen_fingerprint(model)
    return Check(
        name="training.frozen",
        claim="The frozen weights are unchanged, bit for bit.",
        measured=after[:12],
        limit=before[:12],
        unit="",
        passed=after == before,
        advice="Something wrote to the base model. The adapter will not fit the published base; do not use this result.",
    )


def loss_fell(
    first_validation: float | None, result_validation: float | None, unit: str = "nats per token"
) -> Check | None:
    """Validation loss of the result against the untrained model; None without validation rows.

    Args:
        unit: What the loss is, per what.
    """
    if first_validation is None or result_validation is None:
        return None
    return Check(
        name="training.loss",
        claim="The validation loss of the result is below that of the untrained model.",
        measured=round(result_validation, 4),
        limit=round(first_validation, 4),
        unit=unit,
        passed=result_validation < first_validation,
        advice="Training made the model worse on held-out rows: lower train.learning_rate or look at the data.",
    )
