"""`luthier train` as a user runs it, on a tiny model: the run folder, interruption, resume, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from tests.tiny import save_tiny_model, write_chat_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl")
    return folder


def recipe(place: Path, name: str, **sections: dict[str, Any]) -> Path:
    content: dict[str, Any] = {
        "model": {"name": "./model"},
        "data": {"train": "rows.jsonl"},
        "run": {"name": name, "folder": str(place / "runs")},
        "train": {"max_steps": 6, "batch_size": 8, "learning_rate": 1e-2, "num_threads": 1, "evaluate_every": 3},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0},
    }
    for section, values in sections.items():
        content[section] = {**content.get(section, {}), **values}
    path = place / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "LUTHIER_CACHE": str(place / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def luthier(place: Path, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "luthier", *arguments],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_a_run_from_recipe_to_verified_result(place: Path) -> None:
    done = luthier(place, "train", str(recipe(place, "whole")), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    run = place / "runs" / "whole"
    assert result["verdict"] == "verified"
    assert result["checks"]["failed"] == 0
    assert result["checks"]["passed"] >= 15
    expected = {
        "run.json", "recipe.yaml", "recipe.resolved.yaml", "environment.json", "data.json", "contract.json",
        "metrics.jsonl", "checks.jsonl", "checkpoints", "adapter", "report.html", "log.txt",
    }  # fmt: skip
    assert expected <= {p.name for p in run.iterdir()}
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    validation = {m["step"]: m["loss"] for m in metrics if m["kind"] == "validation"}
    assert set(validation) == {0, 3, 6}
    assert validation[6] < validation[0]
    assert [m["step"] for m in metrics if m["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    tensors = load_file(run / "adapter" / "adapter_model.safetensors")
    assert any("lora_B" in name and tensor.abs().sum() > 0 for name, tensor in tensors.items())


def test_the_saved_adapter_works_in_plain_peft(place: Path) -> None:
    """Loss by transformers + PEFT from the run's files equals the validation loss that was reported."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = place / "runs" / "whole"
    base = AutoModelForCausalLM.from_pretrained(place / "model", dtype=torch.float32)
    model = PeftModel.from_pretrained(base, run / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(run / "adapter")
    from luthier.config.load import load_recipe
    from luthier.reporter import Silent
    from luthier.workflows.assemble import read_inputs

    os.environ["LUTHIER_CACHE"] = str(place / "cache")
    inputs = read_inputs(load_recipe(run / "recipe.resolved.yaml").recipe, Silent())
    total = weight = 0.0
    for row in inputs.data.validation_conversations:
        messages = [{"role": m.role, "content": m.content} for m in row.messages]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        prompt = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        ids = torch.tensor([tokenizer(text.rstrip("\n"), add_special_tokens=False).input_ids])
        num_prompt = len(tokenizer(prompt, add_special_tokens=False).input_ids)
        logp = model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        total -= float(logp[num_prompt - 1 :].sum())
        weight += len(logp) - num_prompt + 1
    reported = json.loads((run / "run.json").read_text())["summary"]["validation_loss"]
    assert total / weight == pytest.approx(reported, rel=1e-4)


def test_full_fine_tuning_leaves_a_model_folder(place: Path) -> None:
    done = luthier(place, "train", str(recipe(place, "full", adapter={"kind": "none"})), "--json")
    assert done.returncode == 0, done.stderr
    run = place / "runs" / "full"
    assert (run / "model" / "model.safetensors").is_file()
    assert json.loads((run / "model" / "config.json").read_text()).get("_attn_implementation") is None


def test_kill_and_resume_end_in_the_same_weights_bit_for_bit(place: Path) -> None:
    path = recipe(place, "resumable", adapter={"dropout": 0.1}, train={"micro_batch_tokens": 256})
    done = luthier(place, "verify", "resume", str(path), "--json", timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"] is True


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_a_resume_goes_on(place: Path, number: signal.Signals, code: int) -> None:
    name = f"stopped-{code}"
    path = recipe(place, name, train={"max_steps": 400, "evaluate_every": 400, "checkpoint_every": 400})
    process = subprocess.Popen(
        [sys.executable, "-m", "luthier", "train", str(path), "--json"],
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = place / "runs" / name / "metrics.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not (metrics.is_file() and metrics.read_text().count('"train"') > 2):
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "--resume" in json.loads(out)["error"]["message"]
    state = json.loads((place / "runs" / name / "run.json").read_text())
    assert state["status"] == "interrupted"
    index = json.loads((place / "runs" / name / "checkpoints" / "index.json").read_text())
    assert 2 < index["last"]["step"] < 400


def test_resume_against_other_data_is_refused(place: Path) -> None:
    rows = write_chat_rows(place / "changing.jsonl")
    path = recipe(
        place,
        "changed",
        data={"train": str(rows)},
        train={"max_steps": 400, "evaluate_every": 400, "checkpoint_every": 2},
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "luthier", "train", str(path)],
        cwd=place,
        env=environment(place),
        stderr=subprocess.DEVNULL,
    )
    index = place / "runs" / "changed" / "checkpoints" / "index.json"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not index.is_file():
        time.sleep(0.05)
    process.kill()
    process.wait()
    write_chat_rows(rows, num_rows=47)
    done = luthier(place, "train", "--resume", str(place / "runs" / "changed"))
    assert done.returncode == 2
    assert "Changed since the checkpoint: data" in done.stderr
    assert "Traceback" not in done.stderr


def bad(place: Path, name: str, content: str | None, **sections: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    if content is not None:
        (place / f"{name}.jsonl").write_text(content)
        sections["data"] = {"train": f"{name}.jsonl", **sections.get("data", {})}
    return luthier(place, "train", str(recipe(place, name, **sections)))


GOOD_ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
BAD_INPUTS: dict[str, tuple[str | None, dict[str, Any], list[str]]] = {
    "missing-file": (None, {"data": {"train": "rowz.jsonl"}}, ["rowz.jsonl", "rows.jsonl"]),
    "broken-line": (GOOD_ROW + '{"messages": [\n', {}, ["broken-line.jsonl:2"]),
    "wrong-columns": ('{"question": "a", "reply": "b"}\n', {}, ["question", "reply", "messages", "data.columns"]),
    "empty": ("", {}, ["empty"]),
    "no-answer": ('{"messages": [{"role": "user", "content": "a"}]}\n', {}, ["no-answer.jsonl:1", "assistant"]),
    "unknown-model": (GOOD_ROW * 4, {"model": {"name": "nobody/nothing"}}, ["nobody/nothing", "luthier models fetch"]),
    "not-a-model": (GOOD_ROW * 4, {"model": {"name": "./runs"}}, ["config.json"]),
    "bad-module": (None, {"adapter": {"target_modules": ["q_prj"]}}, ["q_prj", "q_proj"]),
    "unknown-key": (None, {"train": {"learning_rat": 1}}, ["learning_rat", "learning_rate", "unknown-key.yaml:"]),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_explained_and_leaves_nothing(place: Path, name: str) -> None:
    content, sections, words = BAD_INPUTS[name]
    (place / "runs").mkdir(exist_ok=True)
    done = bad(place, name, content, **sections)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    flat = " ".join(done.stderr.split())
    for word in words:
        assert word in flat
    again = bad(place, name, content, **sections)
    assert "exists already" not in again.stderr, "a run that never began must not hold its name"


def test_a_taken_name_is_refused_and_overwrite_replaces(place: Path) -> None:
    path = recipe(place, "taken", train={"max_steps": 2})
    assert luthier(place, "train", str(path)).returncode == 0
    before = (place / "runs" / "taken" / "run.json").read_text()
    refused = luthier(place, "train", str(path))
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert (place / "runs" / "taken" / "run.json").read_text() == before
    assert luthier(place, "train", str(path), "--overwrite").returncode == 0
