"""A base model that knows neither a chat template nor ChatML's markers: new tokens are added, trained, saved and served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from luthier.config.load import load_recipe
from luthier.models.load import ModelSource, load_causal_lm
from luthier.workflows.load_run import load_run
from luthier.workflows.train import train
from tests.small_tokenizer import small_tokenizer
from tests.tiny import tiny_model, write_chat_rows

MARKERS = ("<|im_start|>", "<|im_end|>")


def save_base_model(folder: Path, family: str, spare_rows: int = 0) -> Path:
    """`spare_rows`: embedding rows beyond the tokenizer, as padded vocabularies have."""
    tokenizer = small_tokenizer(("<|endoftext|>",))
    ids: dict[str, Any] = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    model = tiny_model(family, vocab_size=len(tokenizer) + spare_rows, max_position_embeddings=512, **ids)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.div_(4.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize("spare_rows", [0, 8], ids=["grown", "spare rows"])
@pytest.mark.parametrize("family", ["llama-tied", "llama"])
@pytest.mark.parametrize("adapter", ["lora", "none"])
def test_new_tokens_are_trained_saved_and_served(tmp_path: Path, adapter: str, family: str, spare_rows: int) -> None:
    base = save_base_model(tmp_path / "model", family, spare_rows)
    content = {
        "model": {"name": str(base)},
        "data": {"train": str(write_chat_rows(tmp_path / "rows.jsonl"))},
        "adapter": {"kind": adapter},
        "run": {"name": "base", "folder": str(tmp_path / "runs")},
        "train": {"max_steps": 12, "batch_size": 8, "learning_rate": 1e-2, "num_threads": 1, "device": "cpu"},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0},
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(content))
    result = train(load_recipe(recipe))
    assert result.verdict == "verified", [c for c in result.checks if not c.passed]

    run = load_run(result.run)
    new_ids = run.tokenizer.convert_tokens_to_ids(list(MARKERS))
    old = load_causal_lm(ModelSource("base", str(base), None), torch.float32, torch.device("cpu"))
    size = old.get_input_embeddings().weight.shape[0]
    assert [i >= size for i in new_ids] == [spare_rows == 0] * 2
    inner = run.model.get_base_model() if adapter == "lora" else run.model
    for embedding, before in (
        (inner.get_input_embeddings(), old.get_input_embeddings()),
        (inner.get_output_embeddings(), old.get_output_embeddings()),
    ):
        start = before.weight[: new_ids[0]].mean(0)
        moved = (embedding.weight[new_ids] - start).abs().amax(dim=1)
        assert ((moved > 1e-3) & (moved < 0.5)).all(), moved

    answer = run.ask("What is the colour of thing 3?", max_new_tokens=8)
    assert isinstance(answer, str)
    contract = json.loads((result.result / "contract.json").read_text())
    assert MARKERS[1] in contract["stop_tokens"]
    assert _plain_loss(result.result, base, adapter) == pytest.approx(_live_loss(run), rel=1e-4)


def _row(tokenizer: Any) -> torch.Tensor:
    text = "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\nRed.<|im_end|>"
    return torch.tensor([tokenizer(text, add_special_tokens=False).input_ids])


def _live_loss(run: Any) -> float:
    ids = _row(run.tokenizer)
    with torch.no_grad():
        return float(run.model(input_ids=ids, labels=ids).loss)


def _plain_loss(result: Path, base: Path, adapter: str) -> float:
    """Through transformers and PEFT alone, as another program would open the result."""
    from peft import PeftModel

    tokenizer = AutoTokenizer.from_pretrained(result)
    if adapter == "none":
        model = AutoModelForCausalLM.from_pretrained(result, dtype=torch.float32)
    else:
        plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        if len(tokenizer) > plain.get_input_embeddings().weight.shape[0]:
            plain.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model = PeftModel.from_pretrained(plain, result)
    ids = _row(tokenizer)
    with torch.no_grad():
        return float(model.eval()(input_ids=ids, labels=ids).loss)
