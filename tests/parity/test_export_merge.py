"""A merged model predicts what PEFT's live adapter does: every kind, every family; combinations are those of PEFT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from luthier.errors import ModelError
from luthier.export.combine import Combination
from luthier.export.merge import (
    apply_merge,
    merged_config,
    network_names,
    only_weights_changed,
    plan_merge,
    unmoved,
)
from luthier.export.peft_folder import read_peft_folder
from luthier.export.peft_merge import read_adapter
from luthier.export.weight_files import WeightFiles
from tests.tiny import VOCAB, tiny_model

FAMILIES = ["llama", "llama-tied", "qwen2", "qwen3", "mistral-window", "gemma2", "gemma3", "phi3"]


def lora(**options: Any) -> Callable[[str], LoraConfig]:
    given = {"r": 4, "lora_alpha": 7, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | options
    return lambda _: LoraConfig(**given)


def ia3(family: str) -> IA3Config:
    attention = "qkv_proj" if family == "phi3" else "k_proj"
    return IA3Config(target_modules=[attention, "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM")


KINDS: dict[str, Callable[[str], Any]] = {
    "lora": lora(),
    "rslora": lora(use_rslora=True),
    "dora": lora(use_dora=True),
    "ia3": ia3,
    "trained-rows": lora(trainable_token_indices={"embed_tokens": [3, 5]}),
    "whole-head": lora(modules_to_save=["lm_head"]),
    "embedding": lora(target_modules=["embed_tokens"]),
    "patterns": lora(rank_pattern={"o_proj": 2}, alpha_pattern={"o_proj": 13}),
}
PAIRS = [(family, kind) for family in FAMILIES for kind in ("lora", "rslora", "dora", "ia3", "trained-rows")]
PAIRS += [(family, kind) for family in ("llama", "llama-tied") for kind in ("whole-head", "embedding", "patterns")]


def moved(config: Any, base: Any, folder: Path, seed: int) -> Any:
    """An adapter whose every number was moved, saved in `folder`."""
    model = get_peft_model(base, config).eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return model


def merged(base: Path, adapters: list[Path], out: Path, **options: Any) -> tuple[Any, list[str], list[str]]:
    config = AutoConfig.from_pretrained(base)
    weights = WeightFiles.open(base)
    folders = [read_peft_folder(path) for path in adapters]
    plan = plan_merge(weights, network_names(config), folders, num_tokens=VOCAB, shard_bytes=20_000, **options)
    assert len(plan.shards) > 2
    out.mkdir()
    apply_merge(plan, weights, out)
    merged_config(config, plan, torch.float32).save_pretrained(out)
    written = WeightFiles.open(out)
    model = AutoModelForCausalLM.from_pretrained(out).eval()
    return model, only_weights_changed(plan, weights, written), unmoved(plan, weights, written)


IDS = torch.arange(3, 27).reshape(2, 12)


@pytest.mark.parametrize(("family", "kind"), PAIRS)
def test_merged_equals_the_live_adapter(family: str, kind: str, tmp_path: Path) -> None:
    base = tiny_model(family)
    with torch.no_grad():
        for name, parameter in base.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.3)
    base.save_pretrained(tmp_path / "base")
    live = moved(KINDS[kind](family), base, tmp_path / "adapter", seed=1)
    with torch.no_grad():
        expected = live(IDS).logits
        with live.disable_adapter():
            without = live(IDS).logits
        model, wrong, still = merged(tmp_path / "base", [tmp_path / "adapter"], tmp_path / "merged")
        found = model(IDS).logits
    assert (expected - without).abs().max() > 0.05
    assert (found - expected).abs().max() < 1e-5
    assert wrong == []
    assert still == []


def square() -> Any:
    """All matrices have 32 rows or more, so that rank 32 is full: PEFT's svd takes one rank for all."""
    return tiny_model("llama", num_key_value_heads=4)


def two_adapters(tmp_path: Path) -> tuple[Any, list[Path]]:
    base = square()
    base.save_pretrained(tmp_path / "base")
    folders = [tmp_path / "a", tmp_path / "b"]
    moved(lora(r=4)("llama"), base, folders[0], seed=1)
    moved(lora(r=2, target_modules=["q_proj", "down_proj"])("llama"), square(), folders[1], seed=2)
    model = PeftModel.from_pretrained(square(), str(folders[0]), adapter_name="a")
    model.load_adapter(str(folders[1]), adapter_name="b")
    return model.eval(), folders


@pytest.mark.parametrize("method", ["linear", "svd", "ties"])
def test_combined_adapters_equal_pefts_weighted_adapter(method: str, tmp_path: Path) -> None:
    peft_model, folders = two_adapters(tmp_path)
    weights = [0.7, -0.4]
    full = {"svd_rank": 32}
    options: dict[str, dict[str, Any]] = {
        "linear": {"combination_type": "cat"},
        "svd": {"combination_type": "svd", "svd_rank": 3},
        "ties": {"combination_type": "ties_svd", "density": 0.4, **full},
    }
    peft_model.add_weighted_adapter(["a", "b"], weights, "both", **options[method])
    peft_model.set_adapter("both")
    how = Combination(method, tuple(weights), density=0.4, rank=3)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = peft_model(IDS).logits
        model, wrong, _ = merged(tmp_path / "base", folders, tmp_path / "merged", combination=how)
        found = model(IDS).logits
    assert wrong == []
    assert (found - expected).abs().max() < 1e-4


def test_dare_keeps_the_expected_update_and_is_the_same_twice(tmp_path: Path) -> None:
    _, folders = two_adapters(tmp_path)
    results: dict[tuple[float, int, str], torch.Tensor] = {}
    for density, seed, out in [(0.5, 0, "x"), (0.5, 0, "y"), (0.5, 1, "z"), (1.0, 0, "w")]:
        how = Combination("dare", (1.0, 1.0), density=density, seed=seed)
        merged(tmp_path / "base", folders, tmp_path / out, combination=how)
        results[density, seed, out] = WeightFiles.open(tmp_path / out).read("model.layers.0.mlp.down_proj.weight")
    base = WeightFiles.open(tmp_path / "base").read("model.layers.0.mlp.down_proj.weight")
    kept, again, other, everything = results.values()
    assert torch.equal(kept, again)
    assert not torch.equal(kept, other)
    whole = everything - base
    ratio = ((kept - base) * whole).sum() / (whole * whole).sum()  # what is left is scaled up: 1 on average
    assert 0.8 < ratio < 1.2


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    tiny_model("llama").save_pretrained(tmp_path / "base")
    moved(lora()("llama"), tiny_model("llama", hidden_size=64), tmp_path / "wider", seed=1)
    moved(lora()("phi3"), tiny_model("phi3"), tmp_path / "phi", seed=1)
    with pytest.raises(ModelError, match="another model"):
        merged(tmp_path / "base", [tmp_path / "wider"], tmp_path / "a")
    with pytest.raises(ModelError, match="do not have"):
        merged(tmp_path / "base", [tmp_path / "phi"], tmp_path / "b")


@pytest.mark.parametrize("kind", ["loha", "lokr", "oft"])
def test_other_kinds_are_merged_by_peft(kind: str, tmp_path: Path) -> None:
    import peft

    from luthier.models.load import ModelSource

    options: dict[str, Any] = {"oft": {"oft_block_size": 8}}.get(kind, {"r": 4})
    class_name = {"loha": "LoHaConfig", "lokr": "LoKrConfig", "oft": "OFTConfig"}[kind]
    config = getattr(peft, class_name)(target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", **options)
    tiny_model("qwen2").save_pretrained(tmp_path / "base")
    live = moved(config, tiny_model("qwen2"), tmp_path / "adapter", seed=1)
    source = ModelSource("base", str(tmp_path / "base"), None)
    weights = WeightFiles.open(tmp_path / "base")
    folder = read_adapter(tmp_path / "adapter", source, weights, ["token"] * VOCAB)
    assert len(folder.changes) == 4
    names = network_names(AutoConfig.from_pretrained(tmp_path / "base"))
    plan = plan_merge(weights, names, [folder], num_tokens=VOCAB)
    (tmp_path / "merged").mkdir()
    apply_merge(plan, weights, tmp_path / "merged")
    merged_config(AutoConfig.from_pretrained(tmp_path / "base"), plan, torch.float32).save_pretrained(
        tmp_path / "merged"
    )
    with torch.no_grad():
        expected = live(IDS).logits
        found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()(IDS).logits
        with live.disable_adapter():
            assert (live(IDS).logits - expected).abs().max() > 0.01
    assert (found - expected).abs().max() < 1e-4


def test_what_is_no_change_of_weights_is_refused(tmp_path: Path) -> None:
    from peft import PromptTuningConfig

    model = get_peft_model(tiny_model("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    model.save_pretrained(str(tmp_path))
    with pytest.raises(ModelError, match="PROMPT_TUNING"):
        read_peft_folder(tmp_path)
    from luthier.models.load import ModelSource

    tiny_model("llama").save_pretrained(tmp_path / "base")
    source = ModelSource("base", str(tmp_path / "base"), None)
    with pytest.raises(ModelError, match="virtual tokens"):
        read_adapter(tmp_path, source, WeightFiles.open(tmp_path / "base"), [])
