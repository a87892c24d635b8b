"""Words of a recipe as names of layers, against the shape of a Llama."""

from __future__ import annotations

import pytest

from luthier.plan.adapted import adapted_names
from luthier.plan.shapes import read_shape
from tests.tiny import tiny_model


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("all-linear", "all-linear"),
        ("attention", ("q_proj", "k_proj", "v_proj", "o_proj")),
        (["mlp", "q_proj"], ("gate_proj", "up_proj", "down_proj", "q_proj")),
        (["*.self_attn.[qk]_proj"], ("q_proj", "k_proj")),
        (["self_attn.o_proj", "nothing"], ("o_proj", "nothing")),
        (["q_proj", "all-linear"], "all-linear"),
    ],
)
def test_words_and_patterns(wanted: list[str] | str, expected: object) -> None:
    assert adapted_names(wanted, read_shape(tiny_model("llama").config.to_dict())) == expected
