"""The checks after training: changed, missing and foreign tensors, another template saved, answers without an end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from luthier.accel.scorer import ScoringModel
from luthier.checks import result as checks
from luthier.data.template import ChatTemplate
from luthier.generate.protocol import Completion
from luthier.models.contract import InferenceContract
from luthier.models.result import result_kind, save_result
from luthier.types import Conversation, Message, Source
from tests.small_tokenizer import small_tokenizer
from tests.tiny import tiny_model, tiny_tokenizer
from tests.unit.data.test_template import CHATML, FORGETFUL


@pytest.fixture(params=["adapter", "tied", "untied"])
def saved(request: pytest.FixtureRequest, scoring: ScoringModel, tmp_path: Path) -> tuple[nn.Module, Path]:
    models = {"adapter": lambda: scoring.model, "tied": lambda: tiny_model("llama-tied")}
    model = models.get(request.param, lambda: tiny_model("llama"))()
    folder = tmp_path / result_kind(model)
    save_result(model, tiny_tokenizer(), folder, base_name="base")
    return model, folder


def change(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    (path,) = folder.glob("*.safetensors")
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_saved_equals_live(saved: tuple[nn.Module, Path]) -> None:
    assert checks.saved_equals_live(*saved).passed


def _flip(tensors: dict[str, Tensor]) -> None:
    name = sorted(tensors)[0]
    tensors[name].view(-1).view(torch.int32)[0] ^= 1


DEFECTS: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "one bit": (_flip, "has other values"),
    "missing": (lambda t: t.pop(sorted(t)[0]), "is missing"),
    "foreign": (lambda t: t.update(stranger=torch.ones(2)), "stranger is not of this model"),
    "shape": (lambda t: t.update({sorted(t)[0]: torch.ones(1)}), "has shape (1,)"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_saved_result_that_differs_is_found(saved: tuple[nn.Module, Path], defect: str) -> None:
    model, folder = saved
    edit, words = DEFECTS[defect]
    change(folder, edit)
    check = checks.saved_equals_live(model, folder)
    assert not check.passed
    assert words in str(check.measured)


def test_an_empty_folder_is_no_result(saved: tuple[nn.Module, Path]) -> None:
    model, folder = saved
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert checks.saved_equals_live(model, folder).measured == f"1 differences, first: {folder.name} holds no tensors"


ROW = Conversation(
    (
        Message("user", "Hello"),
        Message("assistant", "<think>so</think>Hi"),
        Message("user", "Who?"),
        Message("assistant", "<think>hm</think>Me"),
    ),
    source=Source("f.jsonl", 1),
)


def serve(folder: Path, trained: str, saved: str, special: tuple[str, ...] = ()) -> checks.Check:
    template = ChatTemplate.from_tokenizer(small_tokenizer(), template=trained)
    other = ChatTemplate.from_tokenizer(small_tokenizer(), template=saved)
    InferenceContract.from_template(other, base_model="tiny").save(folder)
    tokenizer = small_tokenizer(("<|endoftext|>", "<|im_start|>", "<|im_end|>", *special))
    return checks.serving_equals_training(template, folder, tokenizer, [ROW])


@pytest.mark.parametrize("template", [CHATML, FORGETFUL], ids=["keeps the past", "rewrites the past"])
def test_serving_equals_training(tmp_path: Path, template: str) -> None:
    assert serve(tmp_path, template, template).passed


def test_another_template_or_tokenizer_saved_is_found(tmp_path: Path) -> None:
    other = serve(tmp_path, CHATML, FORGETFUL)
    assert not other.passed
    assert "f.jsonl:1: other token ids" in str(other.measured)
    tokenizer = serve(tmp_path, CHATML, CHATML, special=("<|more|>",))
    assert not tokenizer.passed
    assert "is not the one" in str(tokenizer.measured)


def test_a_contract_that_was_edited_is_found(tmp_path: Path) -> None:
    serve(tmp_path, CHATML, CHATML)
    path = tmp_path / "contract.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "system_prompt": "Be rude"}))
    template = ChatTemplate.from_tokenizer(small_tokenizer(), template=CHATML)
    check = checks.serving_equals_training(template, tmp_path, small_tokenizer(), [ROW])
    assert not check.passed
    assert "edited after training" in str(check.measured)


def answers(stopped: int, total: int = 10) -> list[Completion]:
    return [Completion((5, 2), (-0.1, -0.1), "stop" if i < stopped else "length") for i in range(total)]


def test_tuned_model_stops() -> None:
    good = checks.tuned_model_stops(answers(1), answers(8))
    assert good.passed
    assert good.measured == 80.0
    assert "base model: 10 %" in good.claim
    assert not checks.tuned_model_stops(answers(10), answers(7)).passed
