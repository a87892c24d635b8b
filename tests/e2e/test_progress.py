"""What a training shows of itself on the way, and that showing changes nothing: sample answers, diagnosis, early stopping."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from luthier.config.load import load_recipe
from luthier.errors import InputError
from luthier.reporter import Silent
from luthier.workflows import train as workflow
from tests.tiny import save_tiny_model, write_chat_rows

pytestmark = pytest.mark.usefixtures("own_cache")


class Crash(BaseException):
    """Not caught by anything that ends a run in order."""


class CrashesAt(Silent):
    """A reporter that ends the process, as it were, at a step or a stage."""

    def __init__(self, step: int | None = None, stage: str | None = None) -> None:
        self._step, self._stage = step, stage

    def stage(self, title: str) -> None:
        if title == self._stage:
            raise Crash

    def progress(self, name: str, done: float, total: float, detail: Mapping[str, float | str] | None = None) -> None:
        if name == "train" and done == self._step:
            raise Crash


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("progress")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl", 24)
    return folder


def recipe(place: Path, name: str, **changes: Any) -> Any:
    content: dict[str, Any] = {
        "model": {"name": str(place / "model")},
        "data": {"train": str(place / "rows.jsonl"), "validation_fraction": 0.3},
        "run": {"name": name, "folder": str(place / "runs")},
        "adapter": {"dropout": 0.1},
        "train": {"max_steps": 6, "batch_size": 8, "learning_rate": 1e-2, "num_threads": 1, "evaluate_every": 2},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0},
    }
    for key, value in changes.items():
        section, _, field = key.partition("__")
        content[section] = {**content.get(section, {}), field: value}
    return load_recipe(content)


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def state(run: Path) -> dict[str, torch.Tensor]:
    """The last checkpoint: weights, moments and random numbers."""
    index = json.loads((run / "checkpoints/index.json").read_text())
    return load_file(run / "checkpoints" / index["last"]["folder"] / "state.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_same_prompts_are_answered_at_every_validation(place: Path) -> None:
    run = workflow.train(recipe(place, "sampled", evaluate__sample_prompts=2, evaluate__max_new_tokens=300)).run
    samples = lines(run, "samples_over_time.jsonl")
    assert [s["step"] for s in samples] == [0, 0, 2, 2, 4, 4, 6, 6]
    assert len({s["prompt"] for s in samples}) == 2
    rows = {row["messages"][1]["content"] for row in lines(place, "rows.jsonl")}
    assert {s["reference"] for s in samples} <= rows
    assert all(set(s) == {"step", "prompt", "reference", "answer", "finish"} for s in samples)
    tokenizer = AutoTokenizer.from_pretrained(place / "model")
    assert all(len(tokenizer(s["answer"]).input_ids) <= 64 for s in samples)
    assert {s["finish"] for s in samples if s["step"] == 0} == {"length"}, (
        "an untrained model does not know where to end"
    )
    validations = [m for m in lines(run, "metrics.jsonl") if m["kind"] == "validation"]
    assert all(v["sample_seconds"] > 0 for v in validations)


def test_the_stop_test_s_answers_of_the_untrained_model_are_not_made_twice(place: Path) -> None:
    """They are longer; cut to the samples' length they are what the samples would have been."""
    changes = {"evaluate__sample_prompts": 2, "evaluate__max_new_tokens": 100}
    reused = workflow.train(recipe(place, "reused", evaluate__stop_test_rows=4, **changes)).run
    made = workflow.train(recipe(place, "made", evaluate__stop_test_rows=0, **changes)).run
    assert lines(reused, "samples_over_time.jsonl")[:2] == lines(made, "samples_over_time.jsonl")[:2]
    seconds = [[m["sample_seconds"] for m in lines(run, "metrics.jsonl") if m["step"] == 0] for run in (reused, made)]
    assert seconds[0] == [0.0]
    assert seconds[1][0] > 0


def test_sample_answers_change_nothing_of_the_training(place: Path) -> None:
    with_samples, without = (
        workflow.train(recipe(place, f"samples-{count}", evaluate__sample_prompts=count)).run for count in (3, 0)
    )
    assert not (without / "samples_over_time.jsonl").exists()
    assert same(state(with_samples), state(without))
    for kind in ("train", "validation"):
        losses = [[m["loss"] for m in lines(r, "metrics.jsonl") if m["kind"] == kind] for r in (with_samples, without)]
        assert losses[0] == losses[1]


def test_a_resumed_run_has_every_sample_once(place: Path) -> None:
    with pytest.raises(Crash):
        workflow.train(recipe(place, "crashed", train__checkpoint_every=3), reporter=CrashesAt(step=5))
    run = place / "runs/crashed"
    assert [s["step"] for s in lines(run, "samples_over_time.jsonl")][-1] == 4
    workflow.resume(run)
    assert [s["step"] for s in lines(run, "samples_over_time.jsonl")] == [
        step for step in (0, 2, 4, 6) for _ in range(3)
    ]


# A rate that learns at first and ruins the model then: its validation loss falls, and rises.
PATIENT = {
    "train__max_steps": 60, "train__learning_rate": 0.5, "train__early_stopping_patience": 2, "evaluate__sample_prompts": 1,
}  # fmt: skip


def test_patience_ends_the_training_with_the_best_weights(place: Path) -> None:
    result = workflow.train(recipe(place, "patient", **PATIENT))
    losses = {m["step"]: m["loss"] for m in lines(result.run, "metrics.jsonl") if m["kind"] == "validation"}
    del losses[0]
    best = min(losses, key=lambda step: losses[step])
    assert result.steps == best + 2 * 2 < 60, "two validations, two steps apart, after the best"
    assert max(losses) == result.steps
    assert result.result_step == best
    assert result.validation_loss == losses[best]
    state = json.loads((result.run / "run.json").read_text())
    assert state["step"] == result.steps
    assert f"Stopped early after step {result.steps} of 60: the last 2 validations" in state["summary"]["stopped_early"]
    # The schedule is that of 60 steps.
    rates = {m["step"]: m["learning_rate"] for m in lines(result.run, "metrics.jsonl") if m["kind"] == "train"}
    assert rates[4] > rates[3]


@pytest.mark.parametrize("crash", ["before", "at the end"])
def test_a_resumed_run_stops_at_the_same_step_with_the_same_weights(place: Path, crash: str) -> None:
    whole = place / "runs/patient"
    stopped_at = json.loads((whole / "run.json").read_text())["step"]
    name = f"patient-{crash.replace(' ', '-')}"
    reporter = CrashesAt(step=stopped_at - 1) if crash == "before" else CrashesAt(stage="Save and verify the result")
    with pytest.raises(Crash):
        workflow.train(recipe(place, name, **PATIENT), reporter=reporter)
    result = workflow.resume(place / "runs" / name)
    assert result.steps == stopped_at
    assert same(state(result.run), state(whole))
    assert same(*(load_file(run / "adapter/adapter_model.safetensors") for run in (result.run, whole)))


def test_patience_needs_validation_rows(place: Path) -> None:
    with pytest.raises(InputError, match="early_stopping_patience needs validation rows"):
        workflow.train(recipe(place, "blind", data__validation_fraction=0.0, train__early_stopping_patience=2))
    assert not (place / "runs/blind").exists()


def test_what_the_curves_show_is_said_once_and_kept(place: Path) -> None:
    class Listening(Silent):
        def __init__(self) -> None:
            self.warnings: list[str] = []

        def say(self, message: str, level: str = "info") -> None:
            if level == "warning":
                self.warnings.append(message)

    listening = Listening()
    changes = {"train__max_steps": 50, "train__learning_rate": 0.5, "train__evaluate_every": 25}
    result = workflow.train(recipe(place, "ruined", **changes), reporter=listening)
    kept = json.loads((result.run / "diagnosis.json").read_text())
    assert [d["kind"] for d in kept] == [d.kind for d in result.diagnosis]
    assert result.diagnosis, "a rate of 0.5 leaves a mark"
    for diagnosis in result.diagnosis:
        assert sum(diagnosis.advice in warning for warning in listening.warnings) == 1
    assert result.to_json()["diagnosis"] == kept
