"""Steps are cut to the memory that there is: by the plan beforehand, by the device's word in training, alike after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from luthier.config.load import load_recipe
from luthier.errors import CheckFailedError, Interrupted, ResourceError
from luthier.reporter import Silent
from luthier.training import step as training_step
from luthier.workflows import fitting
from luthier.workflows.train import TrainResult, resume, train
from tests.tiny import save_tiny_model, write_chat_rows

DEVICE_HOLDS = 400
"""Tokens with everything kept; the largest micro-batches below have more."""


class Listening(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str, level: str = "info") -> None:
        self.said.append(message)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUTHIER_CACHE", str(tmp_path / "cache"))
    save_tiny_model(tmp_path / "model")
    content: dict[str, Any] = {
        "model": {"name": str(tmp_path / "model")},
        "data": {"train": str(write_chat_rows(tmp_path / "rows.jsonl", 60))},
        "run": {"name": "small", "folder": str(tmp_path / "runs")},
        "train": {"max_steps": 6, "batch_size": 16, "num_threads": 1, "device": "cpu", "checkpoint_every": 2},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


class SmallDevice:
    """Runs out of memory for larger micro-batches than `DEVICE_HOLDS`, from its `after`-th accumulation on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
        self.calls, self.after, self.sizes = 0, after, list[int]()
        self._real = training_step.accumulate_gradients
        monkeypatch.setattr(training_step, "accumulate_gradients", self)
        monkeypatch.setattr("luthier.checks.preflight.accumulate_gradients", self)

    def __call__(self, model: Any, objective: Any, batches: Any, *rest: Any, **more: Any) -> Any:
        self.calls += 1
        largest = max(batch.num_tokens for batch in batches)
        if self.calls > self.after and largest > DEVICE_HOLDS:
            self._real(model, objective, batches[:1], *rest, **more)  # what ran out left gradients behind
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.\nmore")
        self.sizes.append(largest)
        return self._real(model, objective, batches, *rest, **more)


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return load_file(result.result / "adapter_model.safetensors")


def assert_same_weights(one: TrainResult, other: TrainResult) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("after", [0, 4], ids=["in the preflight", "in a step"])
def test_a_training_that_runs_out_of_memory_ends_like_one_that_never_did(
    recipe: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ample = train(load_recipe(recipe, ["run.name=ample"]))
    reporter, device = Listening(), SmallDevice(monkeypatch, after)
    small = train(load_recipe(recipe), reporter=reporter)
    assert small.verdict == ample.verdict
    assert max(device.sizes[-3:]) <= DEVICE_HOLDS
    assert_same_weights(small, ample)
    words = [line for line in reporter.said if line.startswith("Out of memory with")]
    assert words
    assert "Tried to allocate 1.00 GiB" in words[0]
    kept = json.loads((small.run / "fit.json").read_text())
    assert kept["rung"] == len(words)
    steps = [
        r["step"]
        for r in map(json.loads, (small.run / "metrics.jsonl").read_text().splitlines())
        if r["kind"] == "train"
    ]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_what_was_asked_for_is_not_cut(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallDevice(monkeypatch)
    asked = ["train.micro_batch_tokens=2000", "train.gradient_checkpointing=false"]
    with pytest.raises(CheckFailedError, match=r"leave train\.micro_batch_tokens"):
        train(load_recipe(recipe, asked))


def test_out_of_memory_on_the_lowest_rung_says_what_helps(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallDevice(monkeypatch, after=4)
    asked = ["train.micro_batch_tokens=2000", "train.gradient_checkpointing=false"]
    with pytest.raises(ResourceError, match=r"The last checkpoint is intact.*data\.max_length"):
        train(load_recipe(recipe, asked))


def test_a_resume_stands_on_the_same_rung(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ample = train(load_recipe(recipe, ["run.name=ample"]))
    with monkeypatch.context() as patch:
        SmallDevice(patch, after=1)
        patch.setattr("luthier.training.interrupt.StopRequest.signal_number", 2, raising=False)
        with pytest.raises(Interrupted):
            train(load_recipe(recipe))
    run = recipe.parent / "runs" / "small"
    kept = json.loads((run / "fit.json").read_text())
    device = SmallDevice(monkeypatch, after=10**6)
    ended = resume(run)
    assert json.loads((run / "fit.json").read_text()) == kept
    assert kept["rung"] > 0
    assert max(device.sizes) <= kept["micro_batch_tokens"]
    assert_same_weights(ended, ample)


def test_the_plan_cuts_steps_before_memory_runs_out(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ample = train(load_recipe(recipe, ["run.name=ample"]))
    monkeypatch.setattr(fitting, "available_memory_bytes", lambda *_, **__: 42 * 1024**2)
    reporter = Listening()
    small = train(load_recipe(recipe), reporter=reporter)
    kept = json.loads((small.run / "fit.json").read_text())
    assert 0 < kept["rung"] <= kept["num_rungs"] - 1
    assert any("so steps are cut smaller" in line for line in reporter.said)
    assert_same_weights(small, ample)
