"""`luthier evaluate` on a trained run: the same numbers twice, gates, rows of the training data, tasks of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from luthier.cli.app import main
from luthier.config.load import load_recipe
from luthier.workflows.load_run import load_run
from luthier.workflows.train import train
from luthier.workflows.training_rows import read_training_rows
from tests.tiny import COLOURS, save_tiny_model, write_chat_rows

ROWS = [
    {
        "question": f"What is the colour of thing {i}?" + " Please answer." * (i % 4),
        "answer": f"Thing {i} is {COLOURS[i % 8]}." + " Yes." * (i % 3),
        "colour": COLOURS[i % 8],
        "colours": COLOURS,
        "kind": "even" if i % 2 == 0 else "odd",
    }
    for i in range(30, 54)
]
TASKS: dict[str, dict[str, Any]] = {
    "exact": {"prompt": "question", "reference": "answer", "scorer": "exact_match", "slices": ["kind"], "examples": 2},
    "choice": {
        "prompt": "question",
        "reference": {"choices": "colours", "answer": "colour"},
        "scorer": {"kind": "multiple_choice", "prompt_format": "text"},
    },
    "bits": {"prompt": "question", "reference": "answer", "scorer": "perplexity"},
    "drawn": {"prompt": "question", "reference": "answer", "scorer": "exact_match", "samples": 2, "pass_at": [2]},
}


@pytest.fixture(scope="module", params=["lora", "none"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, task in TASKS.items():
        (folder / f"{name}.yaml").write_text(
            yaml.safe_dump({"name": name, "data": "held.jsonl", "max_new_tokens": 12} | task)
        )
    content = {
        "model": {"name": str(save_tiny_model(folder / "model"))},
        "data": {"train": str(write_chat_rows(folder / "rows.jsonl"))},
        "adapter": {"kind": request.param},
        "run": {"name": "tiny", "folder": str(folder / "runs")},
        "train": {"max_steps": 20, "batch_size": 8, "learning_rate": 5e-3, "num_threads": 1, "device": "cpu"},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0, "sample_prompts": 0, "tasks": []},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return Path(train(load_recipe(folder / "recipe.yaml")).run)


def _evaluate(run: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    tasks = [word for name in TASKS for word in ("--task", str(run.parent.parent / f"{name}.yaml"))]
    code = main(["evaluate", str(run), *tasks, "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def _numbers(content: Any) -> Any:
    """All but times, and where answers came from."""
    if isinstance(content, dict):
        return {
            key: _numbers(value) for key, value in content.items() if key not in ("seconds", "answers", "likelihoods")
        }
    return [_numbers(value) for value in content] if isinstance(content, list) else content


def test_the_same_run_gives_the_same_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, first = _evaluate(run, capsys, "--fresh")
    assert code == 0
    again, cached = (_evaluate(run, capsys, *words)[1] for words in (["--fresh"], []))
    assert _numbers(first) == _numbers(again) == _numbers(cached)
    # 22 rows to three contenders, 24 × 2 samples to two.
    assert first["answers"] == again["answers"] == {"cached": 0, "generated": 22 * 3 + 24 * 2 * 2}
    assert cached["answers"] == {"cached": 162, "generated": 0}
    assert set(first["tasks"]) == set(TASKS)
    bits = first["tasks"]["bits"]
    assert bits["contenders"]["tuned"]["bits_per_byte"] < bits["contenders"]["base"]["bits_per_byte"]
    assert bits["comparisons"][0]["verdict"] == "better"


def test_rows_of_the_training_data_are_found(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, content = _evaluate(run, capsys)
    learnt = {row.messages[0].content for row in read_training_rows(*_opened(run))}
    shared = sum(row["question"] in learnt for row in ROWS)
    assert 10 <= shared < 18  # things 30 to 47, less those held out
    overlap = content["tasks"]["bits"]["overlap"]
    assert overlap["kinds"].get("equal", 0) == shared
    assert overlap["without"]["num_rows"] == 24 - overlap["num_rows"]


def _opened(run: Path) -> Any:
    loaded = load_run(run)
    return loaded.folder, loaded.recipe


def test_gates_decide_the_exit_code(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, content = _evaluate(
        run, capsys, "--require", "bits.bits_per_byte < base", "--require", "bits.perplexity < base"
    )
    assert (code, content["passed"]) == (0, True)
    code, content = _evaluate(run, capsys, "--require", "lower(exact.accuracy - fewshot) > 0.5")
    assert (code, content["passed"]) == (1, False)
    assert content["requirements"][0]["right"] == 0.5
    code, content = _evaluate(run, capsys, "--require", "exact.accuracy >> 1")
    assert code == 2
    assert content["error"]["type"] == "InputError"


def test_files_of_a_task(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _evaluate(run, capsys)
    for name in TASKS:
        assert {p.name for p in (run / "evaluation" / name).iterdir()} == {"rows.jsonl", "summary.json", "summary.md"}
    page = (run / "report.html").read_text()
    assert "bits: bits per byte" in page
    assert "Less is better." in page


def test_training_data_that_are_gone_are_told_and_do_not_stop_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run.parent.parent / "rows.jsonl"
    content = rows.read_text()
    rows.unlink()
    try:
        code = main(["evaluate", str(run), "--task", str(run.parent.parent / "bits.yaml"), "--json"])
        captured = capsys.readouterr()
        assert code == 0
        assert json.loads(captured.out)["tasks"]["bits"]["overlap"] is None
        assert "it is not known which rows of a task they have too" in captured.err
        rows.write_text(content + content.splitlines()[0] + "\n")
        main(["evaluate", str(run), "--task", str(run.parent.parent / "bits.yaml"), "--json"])
        assert "has changed since" in capsys.readouterr().err
    finally:
        rows.write_text(content)


def test_fingerprints_tell_base_and_tuned_apart(run: Path) -> None:
    loaded = load_run(run)
    base, tuned = (loaded.fingerprint(use_adapter=use) for use in (False, True))
    assert base != tuned
    again = load_run(run)
    assert (again.fingerprint(use_adapter=False), again.fingerprint(use_adapter=True)) == (base, tuned)
