"""What an adapter or precision section asks for and cannot be had: told before a model is read, with its place."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from luthier.config.load import load_recipe
from luthier.errors import RecipeError
from luthier.workflows.check_recipe import require_inputs
from tests.tiny import write_chat_rows


def problems(folder: Path, adapter: dict[str, Any], **precision: Any) -> list[str]:
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "config.json").write_text("{}")  # no weights: nothing may read them
    rows = write_chat_rows(folder / "rows.jsonl", 4)
    sections = {**precision.pop("sections", {}), "adapter": adapter, "precision": precision}
    recipe = {"model": {"name": str(folder / "model")}, "data": {"train": str(rows)}, "run": {"name": "r"}, **sections}
    try:
        require_inputs(load_recipe(recipe))
    except RecipeError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    ("adapter", "precision", "expected"),
    [
        ({"kind": "peft", "method": "ia33"}, {}, "adapter.method: PEFT has no method 'ia33'. Did you mean 'ia3'? It has: adamss"),
        ({"kind": "peft", "method": "prefix_tuning"}, {}, "virtual tokens before each row, which packed documents do not have"),
        ({"kind": "peft", "method": "AdaLoRA"}, {}, "adapter.method: AdaLoRA cannot be trained here: its ranks"),
        ({"kind": "peft", "method": "lora"}, {}, "has its own section: adapter: {kind: lora}"),
        (
            {"kind": "peft", "method": "ia3", "fields": {"feed_forward_modules": []}}, {},
            "adapter.fields.feed_forward_modules: PEFT's IA3Config has no such field. Did you mean 'feedforward_modules'?",
        ),
        (
            {"kind": "peft", "method": "ia3", "target_modules": ["q_proj"], "fields": {"feedforward_modules": ["x"]}}, {},
            "adapter.fields: PEFT's IA3Config refuses them: `feedforward_modules` should be a subset of `target_modules`",
        ),
        ({"kind": "peft", "method": "loha", "fields": {"task_type": "X"}}, {}, "adapter.fields.task_type: this is not a choice"),
        ({"kind": "peft", "method": "loha", "layers": "1"}, {}, "adapter.layers needs adapter.target_modules"),
        ({"kind": "none"}, {"base": "nf4"}, "precision.base is nf4, but full fine-tuning changes the weights themselves"),
        ({"init": "loftq"}, {}, "adapter.init: loftq makes good for 4-bit quantisation; it needs precision.base=nf4"),
        ({"init": "pissa"}, {"base": "int8"}, "int8 weights cannot be changed. Use adapter.init=loftq"),
        ({"init": "pissa", "dora": True}, {}, "whose column lengths adapter.dora trains"),
        ({"init": "orthogonal", "rank": 5}, {}, "adapter.init: orthogonal needs even ranks; adapter.rank is 5"),
        ({"dora": True}, {"base": "int8"}, "adapter.dora: PEFT's DoRA does not work on int8 weights"),
        ({"merge_first": "nowhere"}, {}, "adapter.merge_first: there is no folder runs/nowhere"),
        ({"kind": "existing", "source": "./rows.jsonl"}, {}, "adapter.source: there is no folder"),
    ],
)  # fmt: skip
def test_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: dict[str, Any], precision: dict[str, Any], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (found,) = problems(tmp_path, adapter, **precision)
    assert expected in found


def test_good_ones_pass(tmp_path: Path) -> None:
    assert problems(tmp_path, {"rslora": True, "dora": True, "layers": "3-"}) == []
    assert problems(tmp_path, {"kind": "peft", "method": "IA3", "fields": {"feedforward_modules": []}}) == []
    assert problems(tmp_path, {"init": "loftq"}, base="nf4") == []


def test_noise_is_for_imitation(tmp_path: Path) -> None:
    changes = {"train": {"neftune_alpha": 5}, "objective": {"name": "dpo"}}
    (found,) = problems(tmp_path, {}, **{"sections": changes})
    assert "train.neftune_alpha: noise on the embeddings is for sft and pretrain; dpo compares answers" in found


def test_an_adapter_for_another_base(tmp_path: Path) -> None:
    folder = tmp_path / "earlier" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "owner/other"}))
    for section in ({"kind": "existing", "source": str(tmp_path / "earlier")}, {"merge_first": str(folder)}):
        (found,) = problems(tmp_path, section)
        assert f"the adapter in {folder} was trained on 'owner/other', but model.name is" in found
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "model" / ".")}))
    assert problems(tmp_path, {"merge_first": str(folder)}) == []
    (tmp_path / "full" / "model").mkdir(parents=True)
    (found,) = problems(tmp_path, {"kind": "existing", "source": str(tmp_path / "full")})
    assert "it holds a full model, not an adapter" in found


def test_an_absent_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "bitsandbytes" else real(name, *a)
    )
    (found,) = problems(tmp_path, {}, base="nf4")
    assert "precision.base=nf4 needs the package 'bitsandbytes', which is not installed" in found
    assert "pip install 'luthier[qlora]'" in found
