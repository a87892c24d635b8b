"""What each layer keeps for its backward pass, carried out: the planner's policy put on one model, and taken off again.

all keeps everything. attention computes the MLP's inner tensors again. input computes the whole layer again from its input.
offload does the same, and its input waits in the host's memory. Results are those of keeping everything, bit for bit: the same
operations run on the same numbers, some of them twice.

Reference: the same model with the policy `keep_all`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from luthier.errors import ModelError
from luthier.plan.policy import CheckpointPolicy

# Non-reentrant: works where a layer's input needs no gradient, and passes the segment table on when a layer is run again.
_again: Callable[..., Any] = partial(checkpoint, use_reentrant=False)


def keep(model: nn.Module, policy: CheckpointPolicy) -> None:
    """Let the layers keep what the policy says; what was in force before is taken off first.

    Raises:
        ModelError: The model has other layers than the policy speaks of, or no MLP that could be computed again.
    """
    layers = decoder_layers(model)
    if len(layers) != len(policy.layers):
        raise ModelError(
            f"The checkpointing policy speaks of {len(policy.layers)} layers, and the model has {len(layers)} that can be "
            "computed again. Set train.gradient_checkpointing=false."
        )
    for layer, kind in zip(layers, policy.layers, strict=True):
        _keep_all(layer)
        if kind == "attention":
            _recompute_mlp(layer)
        elif kind != "all":
            layer._gradient_checkpointing_func = _again if kind == "input" else _again_from_host
            layer.gradient_checkpointing = True


def decoder_layers(model: nn.Module) -> list[Any]:
    """The transformer's layers, lowest first; of a model with several towers the text's."""
    found = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    decoders = [m for m in found if "Decoder" in type(m).__name__]
    return decoders or found


def _keep_all(layer: Any) -> None:
    layer.gradient_checkpointing = False
    mlp = getattr(layer, "mlp", None)
    if mlp is not None and hasattr(mlp, "_kept_forward"):
        original = mlp._kept_forward
        del mlp._kept_forward
        if original is None:
            del mlp.forward  # the class's own
        else:
            mlp.forward = original


def _recompute_mlp(layer: Any) -> None:
    mlp = getattr(layer, "mlp", None)
    if mlp is None:
        raise ModelError(
            f"Layers of type {type(layer).__name__} have no MLP of a known name that could be computed again. "
            "Set train.gradient_checkpointing to true (whole layers) or false."
        )
    mlp._kept_forward = vars(mlp).get("forward")  # another speed-up's, or None
    mlp.forward = partial(_forward_again, mlp, mlp.forward)


def _forward_again(mlp: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not (mlp.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return _again(forward, *args, **kwargs)


def _again_from_host(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with torch.autograd.graph.save_on_cpu(pin_memory=torch.cuda.is_available()):
        return _again(function, *args, **kwargs)
