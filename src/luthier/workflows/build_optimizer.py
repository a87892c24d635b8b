"""From a recipe's train and adapter sections to the optimiser over what is trained."""

from __future__ import annotations

import torch

from luthier.config import ExistingSection, LoraSection, Recipe
from luthier.models.adapters import trained_parameters
from luthier.training.optim import MasterAdamW
from luthier.training.rates import rate_factors


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
    )
