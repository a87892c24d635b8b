"""Names to weights: what is refused, and with which words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from luthier.errors import ModelError
from luthier.models import load
from luthier.models.load import ModelSource, find_model, generation_eos_ids, load_causal_lm, load_tokenizer
from tests.tiny import save_tiny_model

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "model")


def read(folder: Path) -> torch.nn.Module:
    return load_causal_lm(find_model(str(folder)), torch.float32, CPU)


def test_a_folder_is_loaded_frozen_and_in_evaluation_mode(folder: Path) -> None:
    model = read(folder)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    saved = load_file(folder / "model.safetensors")
    assert torch.equal(model.state_dict()["model.norm.weight"], saved["model.norm.weight"])


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 weights .* are missing .*model\.layers\.1\.mlp\.up_proj\.weight"):
        read(folder)


def test_a_file_that_was_cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        read(folder)


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="cannot be loaded"):
        read(folder)


def test_a_folder_that_is_no_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match=r"holds no config\.json.*It holds: notes\.txt"):
        find_model(str(tmp_path))


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere", "a/b/c"])
def test_a_name_that_is_nothing(name: str) -> None:
    with pytest.raises(ModelError, match=r"neither a built-in name, nor a folder, nor a hub id.*luthier models fetch"):
        find_model(name)


def test_a_hub_id_while_offline_says_what_is_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(load, "cached", lambda: {"smollm2-135m-instruct": tmp_path})
    with pytest.raises(ModelError) as caught:
        find_model("nobody/nothing-7b")
    message = str(caught.value)
    assert "nobody/nothing-7b" in message
    assert "hub cannot be reached and the model is not in the local cache" in message
    assert "ready: smollm2-135m-instruct" in message


def test_a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(ModelSource("tiny", str(folder), None))


@pytest.mark.parametrize(
    ("content", "expected"),
    [({"eos_token_id": 7}, (7,)), ({"eos_token_id": [9, 3, 9]}, (3, 9)), ({}, ()), (None, ())],
)
def test_stop_tokens_of_the_generation_config(folder: Path, content: dict | None, expected: tuple[int, ...]) -> None:
    path = folder / "generation_config.json"
    path.unlink()
    if content is not None:
        path.write_text(json.dumps(content))
    assert generation_eos_ids(ModelSource("tiny", str(folder), None)) == expected


def test_a_broken_generation_config_is_not_passed_over(folder: Path) -> None:
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"generation_config\.json cannot be read"):
        generation_eos_ids(ModelSource("tiny", str(folder), None))
