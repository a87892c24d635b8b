"""The general suite and the probes on a trained run: what is written, what fails, and what the exit code says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.cli.app import main
from luthier.config.load import load_recipe
from luthier.evaluation.suite.general import PARTS
from luthier.runs.folder import RunFolder
from luthier.runs.manifest import Manifest
from luthier.workflows.general_suite import suite_seconds, tasks_after_training, tasks_unnamed
from luthier.workflows.train import train
from tests.tiny import save_tiny_model, write_chat_rows

pytestmark = pytest.mark.slow


def recipe(folder: Path, name: str, data: str = "rows.jsonl", **evaluate: Any) -> Any:
    content = {
        "model": {"name": str(folder / "model")},
        "data": {"train": str(folder / data), "validation_fraction": 0.4},
        "adapter": {"kind": "lora"},
        "run": {"name": name, "folder": str(folder / "runs")},
        "train": {"max_steps": 30, "batch_size": 8, "learning_rate": 5e-2, "num_threads": 1, "device": "cpu"},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0, "sample_prompts": 0, **evaluate},
    }
    return load_recipe(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("general")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl", 80)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return Path(train(recipe(folder, "plain")).run)


def _json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["evaluate", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_suite_is_what_is_measured_where_nothing_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, content = _json(capsys, str(run))
    assert code == 0
    assert list(content["tasks"]) == list(PARTS)
    assert [part["task"] for part in content["forgetting"]] == list(PARTS)
    text = content["forgetting"][0]
    tuned, base = (content["tasks"]["general-text"]["contenders"][c]["bits_per_byte"] for c in ("tuned", "base"))
    assert text["change"]["mean"] == pytest.approx(-(tuned - base) / base)
    assert json.loads((run / "evaluation/forgetting.json").read_text())["is_gate"] is False
    assert "general-text" in (run / "evaluation/forgetting.md").read_text()
    assert "evaluation.forgetting" not in (run / "checks.jsonl").read_text(), "nothing fails that nobody asked for"
    assert Manifest.load(RunFolder(run)).verdict == "verified"


def test_parts_can_be_required(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wants = "lower(general-knowledge.acc - base) >= -0.5"
    code, content = _json(capsys, str(run), "--task", "general", "--require", wants)
    assert (code, content["requirements"][0]["met"]) == (0, True)
    code, content = _json(capsys, str(run), "--task", "general-text", "--require", "general-text.bits_per_byte < 0.1")
    assert (code, content["requirements"][0]["met"]) == (1, False)


def test_what_is_forgotten_beyond_the_tolerance_fails_the_run(folder: Path) -> None:
    """A tiny model that learns to write one strange line finds all other text less probable."""
    rows = [{"question": f"thing {i}?", "answer": "#%" * 20} for i in range(60)]
    (folder / "strange.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = train(recipe(folder, "limited", data="strange.jsonl", forgetting_tolerance=0.001))
    assert result.evaluation is not None
    lost = {part.task: part.answer for part in result.evaluation.forgetting}
    (check,) = [check for check in result.checks if check.name == "evaluation.forgetting"]
    assert lost["general-text"] == "forgotten"
    assert not check.passed
    assert "general-text" in check.measured
    assert result.verdict == Manifest.load(RunFolder(result.run)).verdict == "unverified"
    assert not result.evaluation.passed
    page = (result.run / "report.html").read_text()
    assert "Forgetting and safety" in page
    assert "forgotten" in page


def test_safety_asks_with_the_run_s_own_rows(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, content = _json(capsys, str(run), "--task", "safety")
    assert code == 0
    assert set(content["tasks"]) == {"refusals", "memorisation"}
    assert "no personal data are known" in content["probes"]["leakage"]
    memory = content["tasks"]["memorisation"]["contenders"]
    assert set(memory) == {"base", "tuned"}
    assert memory["tuned"]["figures"]["held_out_rows"] > 20
    assert (run / "evaluation/memorisation/summary.md").read_text().count("training rows word for word") == 2
    code, content = _json(capsys, str(run), "--task", "leakage", "--require", "leakage.leaked <= 0")
    assert code == 2
    assert "cannot be judged" in content["error"]["message"]


def test_it_follows_a_training_where_it_is_cheap(run: Path) -> None:
    folder = RunFolder(run)
    plain = load_recipe(folder / "recipe.resolved.yaml").recipe
    seconds = suite_seconds(folder)
    assert seconds is not None
    manifest = Manifest.load(folder)
    before = manifest.seconds
    try:
        for trained, expected in ((11 * seconds, ("general",)), (9 * seconds, ())):
            manifest.seconds = trained
            manifest.save(folder)
            assert tasks_after_training(folder, plain) == expected
            never = plain.model_copy(update={"evaluate": plain.evaluate.model_copy(update={"general": "never"})})
            assert tasks_after_training(folder, never) == ()
            always = plain.model_copy(update={"evaluate": plain.evaluate.model_copy(update={"general": "always"})})
            assert tasks_after_training(folder, always) == ("general",)
    finally:
        manifest.seconds = before
        manifest.save(folder)


@pytest.mark.parametrize(
    ("evaluate", "expected"),
    [
        ({}, ("general",)),
        ({"tasks": ["shop-sql"]}, ("shop-sql",)),
        ({"tasks": ["shop-sql"], "forgetting_tolerance": 0.1}, ("shop-sql", "general")),
        ({"tasks": ["general"], "forgetting_tolerance": 0.1}, ("general",)),
        ({"tasks": ["shop-sql"], "forgetting_tolerance": 0.1, "general": "never"}, ("shop-sql",)),
    ],
)
def test_what_is_measured_where_nobody_names_a_task(
    folder: Path, evaluate: dict[str, Any], expected: tuple[str, ...]
) -> None:
    assert tasks_unnamed(recipe(folder, "unnamed", **evaluate).recipe) == expected
