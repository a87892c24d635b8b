"""Factors on the learning rate, by hand."""

from __future__ import annotations

import pytest

from luthier.models.adapters import trained_parameters
from luthier.training.rates import rate_factors
from tests.tiny import tiny_model


def test_lora_plus_is_for_b() -> None:
    names = [
        "m.layers.0.q.lora_A.default.weight",
        "m.layers.0.q.lora_B.default.weight",
        "m.layers.0.q.lora_magnitude_vector",
    ]
    assert list(rate_factors(names, loraplus_ratio=16.0).values()) == [1.0, 16.0, 1.0]


def test_lower_layers_learn_slower() -> None:
    factors = rate_factors(trained_parameters(tiny_model("llama")), layer_decay=0.5, num_layers=2)
    assert factors["model.embed_tokens.weight"] == 0.25
    assert factors["model.layers.0.mlp.up_proj.weight"] == 0.5
    assert factors["model.layers.1.input_layernorm.weight"] == 1.0
    assert factors["model.norm.weight"] == factors["lm_head.weight"] == 1.0


def test_both_multiply() -> None:
    (factor,) = rate_factors(["x.layers.0.q.lora_B.w"], loraplus_ratio=4.0, layer_decay=0.5, num_layers=3).values()
    assert factor == pytest.approx(4.0 * 0.25)
