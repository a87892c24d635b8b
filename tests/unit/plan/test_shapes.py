"""Parameter counts against transformers' own modules on the meta device, and the errors for what cannot be planned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from luthier.errors import ModelError
from luthier.plan.catalogue import CatalogueModel, find_in_catalogue, load_catalogue
from luthier.plan.headers import read_headers, shape_from_headers
from luthier.plan.shapes import FAMILIES, Shape, read_shape
from tests.tiny import FAMILIES as TINY
from tests.tiny import tiny_model


def meta_model(config: dict[str, Any]) -> Any:
    """Transformers' model for these numbers; no memory."""
    config = dict(config)
    made = transformers.AutoConfig.for_model(config.pop("model_type"), **config)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(made)


def counted(model: Any) -> dict[str, int]:
    """Parameters by group, from names."""
    groups = dict.fromkeys(("embedding", "attention", "mlp", "router", "norms", "head"), 0)
    for name, parameter in model.named_parameters():
        if "embed_tokens" in name:
            group = "embedding"
        elif "norm" in name:
            group = "norms"
        elif "self_attn" in name:
            group = "attention"
        elif re.search(r"mlp\.gate\.", name):
            group = "router"
        elif "mlp" in name:
            group = "mlp"
        else:
            assert "lm_head" in name, name
            group = "head"
        groups[group] += parameter.numel()
    return groups


@pytest.mark.parametrize("row", load_catalogue(), ids=lambda row: row.name)
def test_counts_of_every_catalogue_row_equal_transformers(row: CatalogueModel) -> None:
    model = meta_model(dict(row.config))
    assert row.shape.parameters()._asdict() == counted(model)
    assert row.shape.parameters().total == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("row", load_catalogue(), ids=lambda row: row.name)
def test_counts_agree_with_the_published_ones(row: CatalogueModel) -> None:
    number, unit = float(row.published[:-1]), {"B": 1e9, "M": 1e6}[row.published[-1]]
    digits = len(row.published[:-1].partition(".")[2])
    ours = row.shape.parameters().total / unit
    assert ours == pytest.approx(number, abs=1.5 * 10**-digits if "32.5B" not in row.published else 0.3)
    assert row.published_source.startswith("https://")
    assert row.source.startswith("https://huggingface.co/")


def test_names_are_unique_and_hub_ids_are_found_too() -> None:
    names = [row.name for row in load_catalogue()]
    assert len(set(names)) == len(names) >= 40
    assert find_in_catalogue("QWEN/qwen2.5-7b-instruct") is find_in_catalogue("qwen2.5-7b-instruct")
    assert find_in_catalogue("nobody/nothing") is None


@pytest.mark.parametrize("family", FAMILIES)
def test_defaults_are_those_of_the_config_classes(family: str) -> None:
    config = transformers.AutoConfig.for_model(family)
    ours = FAMILIES[family]
    for key in (
        "tie_word_embeddings",
        "head_dim",
        "vocab_size",
        "max_position_embeddings",
        "sliding_window",
        "num_experts",
    ):
        if key in ours:
            assert ours[key] == getattr(config, key), key
    minimal = {
        key: getattr(config, key) for key in ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
    }
    shape = read_shape({"model_type": family, "num_attention_heads": config.num_attention_heads, **minimal})
    assert shape.num_kv_heads == config.num_key_value_heads


@pytest.mark.parametrize("family", [f for f in TINY if f not in ("granite", "cohere")])
def test_counts_of_tiny_models(family: str) -> None:
    model = tiny_model(family)
    shape = read_shape(model.config.to_dict())
    assert shape.parameters().total == sum(p.numel() for p in model.parameters())


def test_linears_are_what_peft_adapts() -> None:
    from luthier.models.targets import linear_names

    for family in ("llama", "phi3", "qwen3", "gemma3"):
        model = tiny_model(family)
        assert sorted(linear.name for linear in read_shape(model.config.to_dict()).linears()) == linear_names(model)


def test_headers_give_the_same_counts_without_a_config(tmp_path: Path) -> None:
    for family in ("llama", "llama-tied", "qwen2", "qwen3"):
        model = tiny_model(family, head_dim=64)
        folder = tmp_path / family
        model.save_pretrained(folder)
        tensors = read_headers(folder)
        assert sum(t.num_elements for t in tensors) == sum(p.numel() for p in model.parameters())
        assert sum(t.num_bytes for t in tensors) == 4 * sum(t.num_elements for t in tensors)
        shape = shape_from_headers(tensors)
        assert shape.parameters() == read_shape(model.config.to_dict()).parameters()
        assert shape.notes or shape.head_dim == 64  # seen where queries are normed, else a note says that it is assumed


def test_text_part_of_a_model_with_several_parts() -> None:
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    shape = read_shape({"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 1152}})
    row = find_in_catalogue("gemma-3-4b-it")
    assert row is not None
    assert shape.parameters() == row.shape.parameters()
    assert "vision_config" in shape.notes[0]


def test_windows() -> None:
    def windows(name: str) -> tuple[int | None, int]:
        row = find_in_catalogue(name)
        assert row is not None
        return row.shape.window, row.shape.num_window_layers

    assert windows("gemma-3-1b-it") == (512, 22)  # every sixth layer of 26 sees everything
    assert windows("gemma-2-2b-it") == (4096, 13)
    assert windows("qwen2.5-7b-instruct") == (None, 0)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ModelError, match=r"model_type is 'mamba'.*It knows: llama"):
        read_shape({"model_type": "mamba"})
    with pytest.raises(ModelError, match="num_hidden_layers, vocab_size missing"):
        read_shape({"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8})


def test_a_file_that_is_no_safetensors_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="is no safetensors file"):
        read_headers(tmp_path)


def test_active_parameters_of_a_mixture() -> None:
    row = find_in_catalogue("qwen3-30b-a3b")
    assert row is not None
    assert isinstance(row.shape, Shape)
    # The card says 3.3B activated with both embeddings; ours leaves the looked-up one (0.31B) out.
    assert row.shape.active_parameters == pytest.approx(3.35e9 - 0.31e9, rel=0.02)
