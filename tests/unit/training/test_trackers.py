"""Sinks get what metrics.jsonl gets, read back with their own packages; a missing one stops the start, a failing one nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from luthier.config import Recipe
from luthier.errors import InputError, MissingExtraError
from luthier.reporter import Silent
from luthier.training import trackers
from luthier.training.trackers import SINKS, Sink, TrackedRun, open_trackers, require_sinks

RECORDS: list[dict[str, Any]] = [
    {"kind": "train", "step": 1, "loss": 3.0, "learning_rate": 0.5, "skipped": "words", "grad_norm": float("nan")},
    {"kind": "train", "step": 2, "loss": 2.0, "learning_rate": 0.25},
    {"kind": "validation", "step": 2, "loss": 2.5},
]


class Warnings(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str, level: str = "info") -> None:
        self.said.append(message)


class Fake:
    def __init__(self, run: TrackedRun, *, fail_at: int | None = None) -> None:
        self.run, self.fail_at, self.closed = run, fail_at, False
        self.logged: list[tuple[dict[str, float], int]] = []

    def log(self, metrics: Any, step: int) -> None:
        if self.fail_at is not None and step >= self.fail_at:
            raise OSError("no network")
        self.logged.append((dict(metrics), step))

    def close(self) -> None:
        self.closed = True


def needs(name: str) -> Any:
    module = SINKS[name].module
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"{name} is not installed")


def tracked(folder: Path, start_step: int = 0) -> TrackedRun:
    return TrackedRun("first", "first-1", folder, {"train.epochs": 1.0, "data.train": ["a"]}, start_step)


def log_all(name: str, folder: Path) -> None:
    reporter = Warnings()
    with open_trackers([name], tracked(folder), reporter) as opened:
        for record in RECORDS:
            opened.log(record)
    assert reporter.said == []


def test_the_recipe_names_the_sinks_that_there_are() -> None:
    recipe = {"model": {"name": "m"}, "data": {"train": "a"}, "run": {"name": "r", "sinks": "wandb"}}
    assert Recipe.model_validate(recipe).run.sinks == ("wandb",)
    recipe["run"] = {"name": "r", "sinks": list(SINKS)}
    assert Recipe.model_validate(recipe).run.sinks == tuple(SINKS)


def test_numbers_go_to_every_sink_by_kind_and_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[Fake] = []
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(SINKS, name, Sink("json", "json", lambda run: made.append(Fake(run)) or made[-1]))
    with open_trackers(["wandb", "mlflow"], tracked(tmp_path), Silent()) as opened:
        for record in RECORDS:
            opened.log(record)
    expected = [
        ({"train/loss": 3.0, "train/learning_rate": 0.5}, 1),
        ({"train/loss": 2.0, "train/learning_rate": 0.25}, 2),
        ({"validation/loss": 2.5}, 2),
    ]
    assert [fake.logged for fake in made] == [expected, expected]
    assert all(fake.closed for fake in made)


def test_a_failing_sink_is_switched_off_with_one_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good, bad = Fake(tracked(tmp_path)), Fake(tracked(tmp_path), fail_at=2)
    monkeypatch.setitem(SINKS, "wandb", Sink("json", "json", lambda _: bad))
    monkeypatch.setitem(SINKS, "mlflow", Sink("json", "json", lambda _: good))
    reporter = Warnings()
    with open_trackers(["wandb", "mlflow"], tracked(tmp_path), reporter) as opened:
        for record in RECORDS:
            opened.log(record)
    assert len(good.logged) == 3
    assert len(bad.logged) == 1
    assert len(reporter.said) == 1
    assert "wandb failed (OSError: no network)" in reporter.said[0]


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'luthier\[mlflow\]'"):
        require_sinks(["mlflow"])
    require_sinks([])


def test_a_sink_that_cannot_start_stops_and_closes_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good = Fake(tracked(tmp_path))

    def fail(run: TrackedRun) -> Any:
        raise RuntimeError("no server")

    monkeypatch.setitem(SINKS, "wandb", Sink("json", "json", lambda _: good))
    monkeypatch.setitem(SINKS, "mlflow", Sink("json", "json", fail))
    with (
        pytest.raises(InputError, match="sink mlflow cannot start"),
        open_trackers(["wandb", "mlflow"], tracked(tmp_path), Silent()),
    ):
        pass
    assert good.closed


@needs("tensorboard")
def test_tensorboard_files_hold_the_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_all("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 3.0), (2, 2.0)]
    assert [(e.step, e.value) for e in events.Scalars("validation/loss")] == [(2, 2.5)]


@needs("mlflow")
def test_mlflow_holds_the_curves_and_a_resume_finds_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    log_all("mlflow", run)
    with open_trackers(["mlflow"], tracked(run, start_step=2), Silent()) as opened:
        opened.log({"kind": "train", "step": 3, "loss": 1.0})
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "runs" / "mlruns").as_uri())
    (found,) = client.search_runs([client.get_experiment_by_name("luthier").experiment_id])
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "train/loss")] == [
        (1, 3.0),
        (2, 2.0),
        (3, 1.0),
    ]
    assert found.data.params["train.epochs"] == "1.0"


@needs("trackio")
@pytest.mark.slow
def test_trackio_and_wandb_offline(tmp_path: Path) -> None:
    """In a process of their own: both start threads and register what runs at its exit."""
    import json
    import os
    import subprocess
    import sys

    names = [name for name in ("trackio", "wandb") if importlib.util.find_spec(SINKS[name].module)]
    code = (
        "import sys, json; from pathlib import Path; from luthier.reporter import Silent\n"
        "from luthier.training.trackers import TrackedRun, open_trackers\n"
        "run = TrackedRun('first', 'first-1', Path(sys.argv[1]), {'train.epochs': 1.0})\n"
        "with open_trackers(sys.argv[2].split(','), run, Silent()) as opened:\n"
        "    for record in json.loads(sys.argv[3]): opened.log(record)\n"
    )
    records = json.dumps([{k: v for k, v in r.items() if v == v} for r in RECORDS])
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), ",".join(names), records],
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "stdout belongs to --json"
    import sqlite3

    (database,) = (tmp_path / "trackio").glob("*.db")
    tables = sqlite3.connect(database)
    rows = [json.loads(row[0]) for row in tables.execute("select metrics from metrics order by id")]
    assert [row.get("train/loss") for row in rows] == [3.0, 2.0, None]
    assert "wandb" not in names or list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
