"""`luthier plan` and `luthier models`: from recipes and words to a plan, in under two seconds and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.config.load import load_recipe
from luthier.errors import InputError, ModelError, ResourceError
from luthier.workflows.list_models import list_models, memory_limit
from luthier.workflows.plan import PlanRequest, plan, request_from_recipe
from luthier.workflows.plan_best import best_for
from luthier.workflows.plan_request import from_words
from tests.tiny import save_tiny_model, write_chat_rows

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    save_tiny_model(tmp_path / "model")
    write_chat_rows(tmp_path / "rows.jsonl", 40)
    return tmp_path


def recipe(folder: Path, **changes: Any) -> Any:
    content = {
        "model": {"name": str(folder / "model")},
        "data": {"train": str(folder / "rows.jsonl")},
        "run": {"name": "r"},
    }
    return load_recipe({**content, **changes})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "llama-3.1-8b-instruct", "--gpu", "RTX-4090"],
        [str(ROOT / "recipes" / "sft_lora.yaml"), "model.name=smollm2-360m-instruct"],
        ["--gpu", "T4", "--data", "demo:shop-sql"],
    ],
)
def test_the_command_takes_less_than_two_seconds_and_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys, time; from luthier.cli.app import main; began = time.process_time(); main(['plan', *sys.argv[1:]]);"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules); print('used', time.process_time())"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 2.0, time.perf_counter() - began


def test_a_recipe_becomes_the_job_that_it_will_be(folder: Path) -> None:
    loaded = recipe(
        folder, adapter={"rank": 4, "target_modules": ["q_proj", "v_proj"]}, train={"batch_size": 8, "epochs": 2}
    )
    result = plan(request_from_recipe(loaded, gpu="cpu"))
    assert result.job.rank == 4
    assert result.job.trained_parameters == 2 * 4 * ((32 + 32) + (32 + 16))  # layers × rank × (in + out) of q and v
    assert result.rows is not None
    assert result.rows.num_rows == 40
    assert result.amount is not None
    assert result.amount.steps == 10  # 36 of 40 rows, 5 steps an epoch
    assert result.verdict == "fits"
    assert result.time is not None


def test_lengths_are_those_that_training_will_see(folder: Path) -> None:
    from luthier.data.prepare import prepare
    from luthier.data.template import ChatTemplate
    from luthier.models.load import find_model, load_tokenizer
    from luthier.reporter import Silent

    result = plan(request_from_recipe(recipe(folder), gpu="cpu"))
    assert result.rows is not None
    template = ChatTemplate.from_tokenizer(load_tokenizer(find_model(str(folder / "model"))))
    data = prepare(
        [str(folder / "rows.jsonl")], (), template=template, fraction=0.0, seed=0, format="auto", columns={},
        max_length=None, model_max_length=512, overlong="drop", limit=None, reporter=Silent(),
    )  # fmt: skip
    assert result.rows.mean_tokens == pytest.approx(float(data.train.lengths.mean()), rel=0.15)


def test_checkpointing_and_type_come_from_the_recipe(folder: Path) -> None:
    loaded = recipe(
        folder, train={"gradient_checkpointing": True}, precision={"compute": "fp32"}, adapter={"kind": "none"}
    )
    job = plan(request_from_recipe(loaded, gpu="A100")).job
    assert (job.parameters, job.compute, job.kept.recomputes) == ("full", "fp32", True)


def test_words() -> None:
    words = {"model": "qwen3-8b", "method": "dpo", "trains": "qlora", "context": 1024}
    request = from_words(words)
    assert (request.parameters, request.objective, request.context) == ("qlora", "dpo", 1024)
    with pytest.raises(InputError, match="--method takes lora, qlora, full, dpo, reward, ppo, not 'sft'"):
        from_words({**words, "method": "sft"})
    result = plan(PlanRequest("qwen3-8b", objective="ppo", gpu="A100"))
    assert any("no ppo yet" in note for note in result.notes)


def test_what_does_not_fit_gets_a_patch_that_the_recipe_takes(folder: Path) -> None:
    result = plan(PlanRequest("qwen2.5-7b-instruct", gpu="RTX-4090", context=4096))
    assert result.verdict == "no"
    assert result.patch is not None
    patched = load_recipe(
        {"model": {"name": "qwen2.5-7b-instruct"}, "data": {"train": str(folder / "rows.jsonl")}, "run": {"name": "r"}},
        result.patch.overrides,
    )
    again = plan(
        PlanRequest(
            "qwen2.5-7b-instruct",
            gpu="RTX-4090",
            context=4096,
            checkpointing=patched.recipe.train.gradient_checkpointing,
        )
    )
    assert again.memory.total_bytes <= again.usable_bytes


def test_cards_without_bf16() -> None:
    result = plan(PlanRequest("llama-3.2-1b-instruct", gpu="T4"))
    assert result.job.compute == "fp16"
    assert any("no bf16" in note for note in result.notes)
    with pytest.raises(InputError, match="T4 does not compute bf16"):
        plan(PlanRequest("llama-3.2-1b-instruct", gpu="T4", compute="bf16"))


def test_money_only_where_it_fits_and_cheapest_first(folder: Path) -> None:
    result = plan(PlanRequest("llama-3.1-8b-instruct", gpu="A100-80", num_rows=5000, context=1024))
    assert [c.usd for c in result.costs] == sorted(c.usd for c in result.costs)
    assert {c.offer.gpu for c in result.costs} == {"A100-80"}
    assert plan(PlanRequest("llama-3.1-8b-instruct", gpu="A100-80")).costs == ()  # no rows, no money


def test_the_best_for_a_card(folder: Path) -> None:
    result = best_for(PlanRequest("", gpu="T4", data=(str(folder / "rows.jsonl"),)))
    assert result.best is not None
    assert result.full is not None
    assert result.in_four_bits is not None
    for parameters, best in (("lora", result.best), ("qlora", result.in_four_bits), ("full", result.full)):
        assert best.parameters == parameters
        assert best.num_parameters == max(c.num_parameters for c in result.candidates if c.parameters == parameters)
    assert result.in_four_bits.num_parameters > result.best.num_parameters > result.full.num_parameters
    assert all(c.needed_bytes <= result.device.usable_bytes for c in result.candidates)
    assert all("max_length" not in " ".join(c.overrides) for c in result.candidates)
    quick = best_for(PlanRequest("", gpu="T4", num_rows=100_000, context=512), most_hours=8.0)
    assert all(c.hours is not None and c.hours <= 8.0 for c in quick.candidates)
    with pytest.raises(ResourceError, match="No model of the catalogue can be trained on T4"):
        best_for(PlanRequest("", gpu="T4", num_rows=10**8, context=512), most_hours=0.1)


def test_unknown_names(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"No model 'qwen2\.5-8b-instruct'.*Did you mean qwen2\.5-"):
        plan(PlanRequest("qwen2.5-8b-instruct"))
    with pytest.raises(InputError, match=r"no linear layer w_proj\. It has: q_proj"):
        plan(PlanRequest("qwen3-8b", targets=("w_proj",)))


def test_weights_that_are_not_what_the_config_says(folder: Path) -> None:
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    result = plan(PlanRequest(str(folder / "model"), gpu="cpu"))
    assert "config.json describes" in result.notes[0]


def test_models_are_listed_by_memory_task_and_licence(folder: Path) -> None:
    everything = list_models()
    assert len(everything) >= 40
    assert [m.num_parameters for m in everything] == sorted(m.num_parameters for m in everything)
    small = list_models(memory="8GB", licence="apache")
    assert {m.row.licence for m in small} == {"Apache-2.0"}
    assert all(min(m.memory_bytes.values()) <= memory_limit("8 GiB") for m in small)
    assert {"code" in m.row.strengths for m in list_models(task="code")} == {True}
    assert list_models(only_cached=True) == []
    with pytest.raises(ModelError, match="They name: base, chat, code"):
        list_models(task="cooking")
    with pytest.raises(InputError, match="takes a size such as 16GB"):
        list_models(memory="much")


def test_json_of_the_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--model", "qwen3-8b", "--gpu", "A100", "--rows", "100", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["model"]["parameters"] == 8_190_735_360
    assert sum(t["num_bytes"] for t in content["memory"]["terms"]) == pytest.approx(content["memory"]["total_bytes"])
    assert main(["models", "list", "--json"]) == 0
    listed = {m["name"]: m for m in json.loads(capsys.readouterr().out)["models"]}
    assert listed["smollm2-135m-instruct"]["parameters"] == 134_515_008
    assert listed["smollm2-135m-instruct"]["path"] is None
    assert main(["plan", "x.yaml", "--model", "qwen3-8b"]) == 2
    assert main(["models", "fetch", "qwen2.5"]) == 2
