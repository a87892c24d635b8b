"""What is saved opens in plain transformers and PEFT with equal values, and the folder appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.accel.attention import use_route
from luthier.models.adapters import add_lora
from luthier.models.result import differences, result_kind, save_result
from tests.tiny import tiny_model, tiny_tokenizer

IDS = torch.tensor([[5, 6, 7, 8]])


def lora(family: str = "llama", tokens: tuple[int, ...] = ()) -> nn.Module:
    model = add_lora(
        tiny_model(family).requires_grad_(False), rank=4, alpha=8, dropout=0.0, target_modules="all-linear",
        trainable_token_ids=tokens, dtype=torch.float32, seed=0,
    )  # fmt: skip
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    return model.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("family", ["llama-tied", "llama"])
def test_a_full_model_opens_elsewhere(family: str, tmp_path: Path) -> None:
    model = tiny_model(family)
    expected = logits(model)
    use_route(model, "sdpa")
    save_result(model, tiny_tokenizer(), tmp_path / "model", base_name="base")
    assert result_kind(model) == "model"
    assert differences(model, tmp_path / "model") == []
    assert model.config._attn_implementation == "luthier_sdpa", "the model in memory must stay as it was"
    assert "luthier" not in (tmp_path / "model" / "config.json").read_text()
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    torch.testing.assert_close(logits(opened), expected)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == tiny_tokenizer().chat_template


def test_a_model_in_several_files_is_compared_whole(tmp_path: Path) -> None:
    model = tiny_model("llama")
    save_result(model, tiny_tokenizer(), tmp_path / "model", base_name="base")
    model.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    (tmp_path / "model" / "model.safetensors").unlink(missing_ok=True)
    shards = sorted((tmp_path / "model").glob("*.safetensors"))
    assert len(shards) > 2
    assert differences(model, tmp_path / "model") == []
    shards[1].unlink()
    missing = differences(model, tmp_path / "model")
    assert missing
    assert all(line.endswith("is missing") for line in missing)


@pytest.mark.parametrize("family", ["llama-tied", "llama"])
@pytest.mark.parametrize("tokens", [(), (5, 7)], ids=["lora", "lora and token rows"])
def test_an_adapter_opens_elsewhere(family: str, tokens: tuple[int, ...], tmp_path: Path) -> None:
    model = lora(family, tokens)
    expected = logits(model)
    save_result(model, tiny_tokenizer(), tmp_path / "adapter", base_name="owner/base")
    assert result_kind(model) == "adapter"
    assert differences(model, tmp_path / "adapter") == []
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "owner/base"
    size = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size
    trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    assert trained <= size < trained + 20_000, "more than the trained weights is saved"
    opened = PeftModel.from_pretrained(tiny_model(family), tmp_path / "adapter").eval()
    torch.testing.assert_close(logits(opened), expected)
    assert not torch.allclose(logits(tiny_model(family)), expected)


def test_saving_again_replaces_and_a_failure_keeps_the_old(tmp_path: Path) -> None:
    model, folder = lora(), tmp_path / "adapter"
    save_result(model, tiny_tokenizer(), folder, base_name="base")
    (folder / "stale.txt").write_text("x")
    save_result(model, tiny_tokenizer(), folder, base_name="base")
    assert not (folder / "stale.txt").exists()

    class FullDisk:
        def save_pretrained(self, _: str) -> None:
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        save_result(model, FullDisk(), folder, base_name="base")
    assert differences(model, folder) == []
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]
