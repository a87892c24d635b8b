"""Words, names, patterns and layer ranges against the module names of tiny models, written out by hand."""

from __future__ import annotations

import pytest

from luthier.errors import ModelError
from luthier.models.targets import by_module, find_targets, layer_of
from tests.tiny import tiny_model

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]


def names(parts: list[str], layers: tuple[int, ...] = (0, 1)) -> list[str]:
    block = {**dict.fromkeys(ATTENTION, "self_attn"), **dict.fromkeys(MLP, "mlp")}
    return [f"model.layers.{layer}.{block[part]}.{part}" for layer in layers for part in parts]


@pytest.mark.parametrize(
    ("wanted", "layers", "expected"),
    [
        ("all-linear", None, names(ATTENTION + MLP)),
        ("attention", None, names(ATTENTION)),
        ("mlp", "1", names(MLP, (1,))),
        (["q_proj", "mlp"], None, names(["q_proj", *MLP])),
        (["*.self_attn.[kv]_proj"], "0-", names(["k_proj", "v_proj"])),
        (["self_attn.o_proj"], "0-0", names(["o_proj"], (0,))),
        (["embed_tokens"], None, ["model.embed_tokens"]),
    ],
)
def test_what_words_and_patterns_mean(wanted: list[str] | str, layers: str | None, expected: list[str]) -> None:
    assert find_targets(tiny_model("llama"), wanted, layers) == expected


def test_a_range_of_layers_with_gaps() -> None:
    found = find_targets(tiny_model("llama", num_hidden_layers=6), ["q_proj"], "0, 2-3,5-")
    assert [layer_of(name) for name in found] == [0, 2, 3, 5]
    assert layer_of("model.embed_tokens") is None


@pytest.mark.parametrize(
    ("wanted", "layers", "message"),
    [
        (["q_prj"], None, r"no module 'q_prj'\. Did you mean 'q_proj'\? Linear layers: down_proj"),
        (["atention"], None, "Did you mean 'attention'"),
        (["*.q_prj"], None, r"no module's full name fits the pattern '\*\.q_prj' \(a full name: model\.layers\.0"),
        ("all-linear", "2", "adapter.layers: 2 is out of range, the model has the layers 0 to 1"),
        ("all-linear", "1-0", "adapter.layers: 1-0 is out of range"),
        (["embed_tokens"], "1", "none of the target modules lies in the layers 1"),
    ],
)
def test_what_is_not_there_is_named(wanted: list[str] | str, layers: str | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        find_targets(tiny_model("llama"), wanted, layers)


def test_values_by_module_the_later_entry_wins() -> None:
    model = tiny_model("llama")
    targets = find_targets(model, "all-linear")
    values = by_module(model, {"mlp": 8, "*.1.mlp.down_proj": 2}, targets, "adapter.rank_pattern")
    assert values == {**dict.fromkeys(names(MLP), 8), "model.layers.1.mlp.down_proj": 2}
    with pytest.raises(ModelError, match=r"adapter\.rank_pattern: none of the adapted modules is 'o_proj'"):
        by_module(model, {"o_proj": 8}, names(["q_proj"]), "adapter.rank_pattern")
