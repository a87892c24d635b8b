"""Short trainings with each way of parametrising: all checks pass, and the run opens again as the model that was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from luthier.config.load import load_recipe
from luthier.errors import InputError, ResourceError
from luthier.workflows.load_run import load_run
from luthier.workflows.train import TrainResult, train
from luthier.workflows.verify_resume import verify_resume
from tests.tiny import save_tiny_model, write_chat_rows

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parametrise")
    save_tiny_model(folder / "model", hidden_size=64, intermediate_size=128)
    write_chat_rows(folder / "rows.jsonl", 24)
    return folder


def run(place: Path, name: str, adapter: dict[str, Any], steps: int = 3, **changes: dict[str, Any]) -> TrainResult:
    recipe: dict[str, Any] = {
        "model": {"name": str(place / "model")},
        "data": {"train": str(place / "rows.jsonl")},
        "run": {"name": name, "folder": str(place / "runs")},
        "adapter": adapter,
        "precision": {"compute": "fp32", **changes.get("precision", {})},
        "train": {
            "max_steps": steps,
            "batch_size": 8,
            "learning_rate": 1e-2,
            "device": "cpu",
            **changes.get("train", {}),
        },
        "evaluate": {"stop_test_rows": 0, "sample_prompts": 0},
        **{section: values for section, values in changes.items() if section not in ("precision", "train")},
    }
    return train(load_recipe(recipe), overwrite=True)


def failed(result: TrainResult) -> list[str]:
    return [f"{check.name}: {check.measured}" for check in result.checks if not check.passed]


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 9, 8, 20, 31]])).logits


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dora": ({"dora": True, "rank": 4}, {}),
    "pissa": ({"init": "pissa", "rank": 4, "rslora": True}, {}),
    "orthogonal, LoRA+": ({"init": "orthogonal", "rank": 4, "loraplus_ratio": 4}, {}),
    "tokens": ({"target_modules": "attention", "layers": "1", "trainable_tokens": ["<|im_end|>"]}, {}),
    "ia3": (
        {"kind": "peft", "method": "ia3", "target_modules": ["k_proj", "down_proj"],
         "fields": {"feedforward_modules": ["down_proj"]}}, {},
    ),
    "nf4": ({"rank": 4}, {"precision": {"base": "nf4"}}),
    "nf4, dora": ({"rank": 4, "dora": True}, {"precision": {"base": "nf4"}}),
    "nf4, loftq": ({"rank": 4, "init": "loftq"}, {"precision": {"base": "nf4"}}),
    "int8": ({"rank": 4}, {"precision": {"base": "int8"}}),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_it_trains_and_opens_again(place: Path, name: str) -> None:
    adapter, changes = KINDS[name]
    result = run(place, "kind", adapter, **changes)
    assert failed(result) == []
    assert result.validation_loss is not None
    opened = load_run(result.run)
    live = logits(opened.model)
    if "precision" not in changes:
        base = AutoModelForCausalLM.from_pretrained(place / "model", dtype=torch.float32).eval()
        plain = PeftModel.from_pretrained(base, result.result).eval()
        torch.testing.assert_close(logits(plain), live, rtol=1e-5, atol=1e-5)
    with opened.model.disable_adapter():  # type: ignore[operator]
        assert (logits(opened.model) - live).abs().max() > 1e-3


def test_an_earlier_adapter_is_continued_and_stacked(place: Path) -> None:
    first = run(place, "first", {"rank": 4, "alpha": 4}, steps=4)
    further = run(place, "further", {"kind": "existing", "source": str(first.run)})
    assert failed(further) == []
    assert json.loads((further.result / "adapter_config.json").read_text())["r"] == 4
    assert first.validation_loss is not None
    assert further.validation_loss is not None
    assert further.validation_loss < first.validation_loss
    losses = [json.loads(line) for line in (further.run / "metrics.jsonl").read_text().splitlines()]
    begin = next(r["loss"] for r in losses if r["kind"] == "validation" and r["step"] == 0)
    assert begin == pytest.approx(first.validation_loss, rel=1e-4), "it must begin where the first one ended"

    stacked = run(place, "stacked", {"merge_first": str(first.result), "rank": 2})
    assert failed(stacked) == []
    config = json.loads((stacked.result / "adapter_config.json").read_text())
    assert config["r"] == 6, "the saved adapter holds both"
    assert config["base_model_name_or_path"] == str(place / "model")


def test_some_parameters_stay_frozen(place: Path) -> None:
    result = run(place, "frozen", {"kind": "none", "freeze": ["embed_tokens", "*.layers.0.*"]})
    assert failed(result) == []
    before = AutoModelForCausalLM.from_pretrained(place / "model").state_dict()
    after = AutoModelForCausalLM.from_pretrained(result.result).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "layers.1." in name or name == "model.norm.weight"}
    with pytest.raises(InputError, match=r"adapter\.freeze: 'lm_heat' fits no parameter"):
        run(place, "frozen", {"kind": "none", "freeze": ["lm_heat"]})


def test_full_in_bf16_without_masters(place: Path) -> None:
    changes = {
        "precision": {"compute": "bf16", "masters": "none"},
        "train": {"optimizer": "adamw-8bit", "layer_rate_decay": 0.8},
    }
    result = run(place, "full", {"kind": "none"}, **changes)
    assert failed(result) == []
    model = AutoModelForCausalLM.from_pretrained(result.result)
    assert model.dtype == torch.bfloat16
    with pytest.raises(
        ResourceError, match=r"precision\.masters is none, which rounds to bf16, but this run computes in fp32"
    ):
        run(place, "full", {"kind": "none"}, precision={"masters": "none"})
    with pytest.raises(ResourceError, match="pages move between a CUDA card and the host"):
        run(place, "full", {"kind": "none"}, train={"optimizer": "paged-adamw-8bit"})


@pytest.mark.slow
def test_qlora_resumes_bit_for_bit(place: Path) -> None:
    """On CPUs with AVX-512 bf16 this needs that no evaluation changes how the frozen weights are stored."""
    recipe = {
        "model": {"name": str(place / "model")},
        "data": {"train": str(place / "rows.jsonl")},
        "run": {"name": "verified", "folder": str(place / "runs")},
        "adapter": {"rank": 4, "loraplus_ratio": 8},
        "precision": {"base": "nf4", "compute": "bf16"},
        "train": {"optimizer": "adamw-8bit", "neftune_alpha": 5, "batch_size": 8, "device": "cpu", "num_threads": 1},
    }
    result = verify_resume(load_recipe(recipe))
    assert result.passed, result.checks


def test_a_text_that_is_not_one_token(place: Path) -> None:
    with pytest.raises(
        InputError, match=r"adapter\.trainable_tokens: 'two words' is not one token of this tokenizer but"
    ):
        run(place, "tokens", {"trainable_tokens": ["two words"]})
