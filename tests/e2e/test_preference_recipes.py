"""The recipes of preference objectives and of pre-training, a few steps on a tiny model: metrics, checks, report, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import luthier
from luthier.config.load import load_recipe
from luthier.errors import DataError
from luthier.reporter import Silent
from tests.tiny import COLOURS, save_tiny_model

QUICK = ("evaluate.stop_test_rows=0", "evaluate.sample_prompts=0", "train.evaluate_every=4")
RECIPES = Path(__file__).parents[2] / "recipes"


def pair(i: int) -> dict[str, Any]:
    return {
        "prompt": f"What is the colour of thing {i}?" + " Please." * (i % 4),
        "chosen": f"It is {COLOURS[i % 8]}." + " Yes." * (i % 3),
        "rejected": f"It is {COLOURS[(i + 3) % 8]}." + " Perhaps." * (i % 2),
    }


def labelled(i: int) -> dict[str, Any]:
    made = pair(i)
    return {"prompt": made["prompt"], "completion": made["rejected" if i % 3 else "chosen"], "label": not i % 3}


def document(i: int) -> dict[str, Any]:
    return {"text": f"Thing {i} is {COLOURS[i % 8]}. " * (1 + i % 9) + f"The end of {i * 7919}."}


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "dpo": pair,
    "orpo": pair,
    "simpo": pair,
    "kto": labelled,
    "pretrain": document,
}
FORMATS = {"dpo": "preference", "orpo": "preference", "simpo": "preference", "kto": "kto", "pretrain": "text"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preferences")
    save_tiny_model(folder / "model")
    for name, make in ROWS.items():
        lines = (json.dumps(make(i)) for i in range(40))
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(autouse=True)
def own_cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTHIER_CACHE", str(place / "cache"))


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str, level: str = "info") -> None:
        self.lines.append(message)


def run(place: Path, name: str, *overrides: str, run_name: str | None = None) -> tuple[Any, list[str], list[Any]]:
    said = Said()
    recipe = load_recipe(
        RECIPES / f"{name}.yaml",
        [
            f"model.name={place / 'model'}",
            f"data.train={place / f'{name}.jsonl'}",
            f"run.folder={place / 'runs'}",
            f"run.name={run_name or name}",
            "train.max_steps=4",
            "train.batch_size=8",
            "train.evaluate_every=2",
            "train.device=cpu",
            "precision.compute=fp32",
            "evaluate.stop_test_rows=2",
            "evaluate.max_new_tokens=4",
            *overrides,
        ],
    )
    result = luthier.train(recipe, overwrite=True, reporter=said)
    lines = (result.run / "metrics.jsonl").read_text().splitlines()
    return result, said.lines, [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ROWS)
def test_recipe_runs(place: Path, name: str) -> None:
    assert len((RECIPES / f"{name}.yaml").read_text().splitlines()) <= 30
    result, _, records = run(place, name, *(["data.max_length=64"] if name == "pretrain" else []))
    data = json.loads((result.run / "data.json").read_text())
    assert [file["format"] for file in data["files"]] == [FORMATS[name]]
    assert data["train"]["num_rows"] + data["validation"]["num_rows"] == 40
    failed = [check.name for check in result.checks if not check.passed]
    assert set(failed) <= {"result.stops", "training.loss"}, "four steps may be too few for these two"
    validations = [r for r in records if r["kind"] == "validation"]
    assert [r["step"] for r in validations] == [0, 2, 4]
    report = (result.run / "report.html").read_text()
    if name == "pretrain":
        assert "terms" not in validations[0]
        assert data["train"]["num_cut_documents"] > 0
        assert "Better answer wins" not in report
        return
    assert "Better answer wins" in report
    assert all(0 <= r["terms"]["reward_accuracy"] <= 1 for r in records)
    held_out = json.loads((result.run / "run.json").read_text())["summary"]["held_out"]
    assert held_out == next(r for r in validations if r["step"] == result.result_step)["terms"]
    if name == "dpo":
        assert validations[0]["loss"] == pytest.approx(0.693147, abs=1e-5), "log 2: the policy begins at the reference"
    if name == "kto":
        assert validations[0]["loss"] == pytest.approx(0.5, abs=1e-5)
        assert validations[0]["terms"]["kl_to_reference"] == pytest.approx(0, abs=1e-4)


def test_reference_is_computed_once_and_found_again(place: Path) -> None:
    _, said, first = run(place, "dpo", *QUICK, "data.limit=30", run_name="first")
    assert sum("Reference log-probabilities: miss" in line for line in said) == 1
    _, said, second = run(place, "dpo", *QUICK, "data.limit=30", run_name="second")
    assert sum("Reference log-probabilities: hit" in line for line in said) == 1
    assert [r["loss"] for r in first] == [r["loss"] for r in second]
    _, _, live = run(place, "dpo", *QUICK, "data.limit=30", "objective.reference=live", run_name="live")
    assert [r["loss"] for r in live] == pytest.approx([r["loss"] for r in first], rel=1e-5)


def test_damaged_reference_is_computed_again(place: Path) -> None:
    _, _, first = run(place, "kto", *QUICK, "data.limit=20", run_name="whole")
    for file in (place / "cache" / "reference").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    _, said, again = run(place, "kto", *QUICK, "data.limit=20", run_name="damaged")
    assert any("is damaged" in line for line in said)
    assert [r["loss"] for r in first] == [r["loss"] for r in again]


def test_full_fine_tuning_has_its_own_beginning_as_reference(place: Path) -> None:
    full = ("adapter={kind: none}", "train.learning_rate=1e-3", "data.limit=24", *QUICK)
    _, _, cached = run(place, "dpo", *full, run_name="full-cached")
    _, _, live = run(place, "dpo", *full, "objective.reference=live", run_name="full-live")
    assert [r["loss"] for r in cached] == pytest.approx([r["loss"] for r in live], rel=1e-5)
    assert cached[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert cached[-1]["loss"] < 0.69


@pytest.mark.parametrize(
    ("name", "rows", "words"),
    [
        ("dpo", "kto", "recognised as kto.*\n.*objective.name: kto"),
        ("kto", "dpo", "recognised as preference.*\n.*objective.name: dpo, orpo, simpo or cpo"),
        ("pretrain", "dpo", "recognised as preference"),
        ("simpo", "pretrain", "recognised as text.*\n.*objective.name: pretrain"),
    ],
)
def test_rows_of_another_kind_are_refused_before_a_folder_is_made(
    place: Path, name: str, rows: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        run(place, name, f"data.train={place / f'{rows}.jsonl'}", run_name="refused")
    assert not (place / "runs" / "refused").exists()


def test_imitation_of_pairs_is_refused_with_the_objectives_that_fit(place: Path) -> None:
    with pytest.raises(DataError, match=r"objective\.name: dpo, orpo, simpo or cpo learn from them"):
        run(place, "dpo", "objective={name: sft}", run_name="refused")
