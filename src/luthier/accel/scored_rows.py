"""The last layer's MLP and the norms behind it at the scored positions only: nobody looks at the others.

A layer's attention reads keys and values of all tokens; behind it every token is on its own. So the last layer selects the scored
rows between its two halves, and returns these alone. Gradients are the same: those of the other rows are zero.

Reference: `transformers.models.llama.modeling_llama.LlamaDecoderLayer.forward`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from luthier.accel.checkpointing import decoder_layers
from luthier.accel.registry import Applies

KNOWN = frozenset(
    {"LlamaDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer", "MistralDecoderLayer", "SmolLM3DecoderLayer"}
)
"""Layers of two halves: x + attention(norm(x)), then x + mlp(norm(x))."""


@dataclass(slots=True)
class Selection:
    """Goes through the model to its last layer. Where none comes (generation, evaluation by others) all rows stay.

    Attributes:
        rows_S: Positions that will be looked at; one may be named twice.
        is_done: Whether the last layer has returned these rows and no others.
    """

    rows_S: Tensor
    is_done: bool = False


class ScoredRows:
    """Lets the last layer return the scored rows alone."""

    name = "scored rows only"
    reference = "transformers.models.llama.modeling_llama.LlamaDecoderLayer.forward"

    def applies_to(self, model: nn.Module) -> Applies:
        """Known layers."""
        layers = decoder_layers(model)
        if not layers or type(layers[-1]).__name__ not in KNOWN:
            name = type(layers[-1]).__name__ if layers else "none"
            return Applies(False, f"the last layer is of no known kind ({name})")
        return Applies(True, "in the last layer")

    def apply(self, model: nn.Module) -> Callable[[], None]:
        """Give the last layer a forward of its own."""
        last = decoder_layers(model)[-1]
        last.forward = partial(_forward, last, last.forward)

        def undo() -> None:
            del last.forward

        return undo


def _forward(layer: Any, usual: Callable[..., Any], hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    selection: Selection | None = kwargs.pop("selection", None)
    if selection is None or args:
        return usual(hidden_states, *args, **kwargs)
    selection.is_done = True
    run = partial(_scored, layer, selection.rows_S, **kwargs)
    if layer.gradient_checkpointing and layer.training:
        return layer._gradient_checkpointing_func(run, hidden_states)
    return run(hidden_states)


def _scored(layer: Any, rows_S: Tensor, hidden_1TH: Tensor, **kwargs: Any) -> Tensor:
    attended_1TH, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_1TH), **kwargs)
    hidden_1SH = (hidden_1TH + attended_1TH)[:, rows_S]
    return hidden_1SH + layer.mlp(layer.post_attention_layernorm(hidden_1SH))
