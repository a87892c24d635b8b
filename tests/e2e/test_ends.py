"""However a training ends, its folder says how, with a report; trouble with the report hides nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.config.load import load_recipe
from luthier.errors import CheckFailedError, Interrupted, LuthierError
from luthier.pages import report as report_page
from luthier.reporter import Silent
from luthier.workflows import train as workflow
from tests.tiny import save_tiny_model, write_chat_rows


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
        "data": {"train": str(write_chat_rows(tmp_path / "rows.jsonl"))},
        "run": {"name": "ended", "folder": str(tmp_path / "runs")},
        "train": {"max_steps": 2, "batch_size": 8, "num_threads": 1, "device": "cpu"},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


ENDS = {
    "failed": (LuthierError("The gradient was not finite"), "failed"),
    "checks": (CheckFailedError("preflight", []), "failed"),
    "a fault of ours": (RuntimeError("shapes do not fit"), "failed"),
    "terminated": (Interrupted(15, "Terminated (SIGTERM)."), "interrupted"),
    "keyboard": (KeyboardInterrupt(), "interrupted"),
}


@pytest.mark.parametrize("name", ENDS)
def test_every_end_is_written_down_with_a_report(recipe: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, status = ENDS[name]

    def ending(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(workflow, "_train_in", ending)
    with pytest.raises(Interrupted if status == "interrupted" else type(error)):
        workflow.train(load_recipe(recipe))
    run = recipe.parent / "runs" / "ended"
    manifest = json.loads((run / "run.json").read_text())
    assert manifest["status"] == status
    assert manifest["error"]
    assert manifest["finished_at"]
    assert (run / "report.html").stat().st_size > 1000


@pytest.mark.parametrize(("error", "exit_code"), [(KeyboardInterrupt(), 130), (Interrupted(15, "Terminated."), 143)])
def test_who_stops_before_the_first_step_is_told_and_may_begin_again(
    recipe: Path, error: BaseException, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(workflow, "_train_in", ending)
        with pytest.raises(Interrupted, match=r"nothing is saved\. The same command begins anew") as stopped:
            workflow.train(load_recipe(recipe))
    assert stopped.value.exit_code == exit_code
    assert workflow.train(load_recipe(recipe)).steps == 2, "the name is free: the run held nothing"


def test_a_second_signal_cannot_keep_the_end_from_being_written(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(folder: Path) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        real(folder)

    def ending(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    real = report_page.write_report
    monkeypatch.setattr(report_page, "write_report", impatient)
    monkeypatch.setattr(workflow, "_train_in", ending)
    with pytest.raises(Interrupted):
        workflow.train(load_recipe(recipe))
    assert (recipe.parent / "runs" / "ended" / "report.html").is_file()


def test_an_evaluation_that_is_stopped_leaves_a_finished_run(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped_evaluation(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workflow, "evaluate", stopped_evaluation)
    with pytest.raises(Interrupted, match=r"only its evaluation was stopped\. Measure it with: luthier evaluate"):
        workflow.train(load_recipe(recipe, ["evaluate.tasks=[shop-sql]"]))
    assert json.loads((recipe.parent / "runs" / "ended" / "run.json").read_text())["status"] == "finished"


def test_a_report_that_fails_hides_nothing(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_report(_: Path) -> None:
        raise OSError("No space left on device")

    def ending(*_: Any, **__: Any) -> None:
        raise LuthierError("what went wrong")

    monkeypatch.setattr(report_page, "write_report", no_report)
    monkeypatch.setattr(workflow, "_train_in", ending)
    listening = Listening()
    with pytest.raises(LuthierError, match="what went wrong"):
        workflow.train(load_recipe(recipe), reporter=listening)
    assert any("could not be written down completely: No space left" in text for text in listening.said)
    assert json.loads((recipe.parent / "runs" / "ended" / "run.json").read_text())["status"] == "failed"


def test_findings_are_said_once(recipe: Path) -> None:
    listening = Listening()
    workflow.train(load_recipe(recipe), reporter=listening)
    assert sum("There are only 48 rows" in text for text in listening.said) == 1
