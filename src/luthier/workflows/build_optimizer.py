"""From a recipe's train, adapter and precision sections to the optimiser over what is trained."""

from __future__ import annotations

import torch

from luthier.config import ExistingSection, LoraSection, Recipe
from luthier.errors import ResourceError
from luthier.models.adapters import trained_parameters
from luthier.models.placement import Placement
from luthier.training.moments import refuse_device
from luthier.training.optim import MasterAdamW
from luthier.training.rates import rate_factors


def refuse_optimizer(recipe: Recipe, placement: Placement) -> None:
    """Raise ResourceError where the optimiser that the recipe asks for cannot run where it is placed; no model is needed."""
    refuse_device(recipe.train.optimizer, placement.device)
    if recipe.precision.masters == "none" and placement.trained_dtype is not torch.bfloat16:
        raise ResourceError(
            f"precision.masters is none, which rounds to bf16, but this run computes in {placement.compute}. Use "
            "precision.compute=bf16, or precision.masters=fp32."
        )


def build_optimizer(recipe: Recipe, model: torch.nn.Module, num_layers: int) -> MasterAdamW:
    """The optimiser.

    Args:
        recipe: Resolved.
        model: With what is trained on it.
        num_layers: Of the model, for rates that fall with depth.
    """
    adapter, train = recipe.adapter, recipe.train
    parameters = trained_parameters(model)
    return MasterAdamW(
        parameters,
        betas=(train.beta1, train.beta2),
        epsilon=train.epsilon,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        rate_factors=rate_factors(
            parameters,
            loraplus_ratio=adapter.loraplus_ratio if isinstance(adapter, LoraSection | ExistingSection) else 1.0,
            layer_decay=train.layer_rate_decay,
            num_layers=num_layers,
        ),
        optimizer=train.optimizer,
        has_masters=recipe.precision.masters == "fp32",
        seed=train.seed,
    )
