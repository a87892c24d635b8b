"""All that a recipe names and that is not there is told at once, with its place, before anything heavy begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from luthier.config.load import load_recipe
from luthier.errors import RecipeError
from luthier.workflows.check_recipe import require_inputs

GOOD = "model: {name: smollm2-135m-instruct}\ndata: {train: rows.jsonl}\nrun: {name: r}\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows, and below it one with recipes; the current folder is the first."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "recipes" / "own.jsonl").write_text('{"text": "a"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problems_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        require_inputs(load_recipe(path, overrides))
    return list(caught.value.problems)


def test_everything_that_is_missing_with_its_place(place: Path) -> None:
    path = place / "all.yaml"
    path.write_text(
        "model: {name: ./nothing}\ndata:\n  train: [rows.jsonl, rowz.jsonl]\n  validation: 'v*.csv'\n"
        "run: {name: r}\nevaluate: {tasks: [shop-sqll]}\n"
    )
    found = problems_of(path, "data.validation=w.csv")
    assert [problem.partition(": ")[0].removeprefix(f"{path}:") for problem in found] == ["1", "3", "override", "6"]
    assert "model.name" in found[0]
    assert "rowz.jsonl: no such file; similar files there: rows.jsonl" in found[1]
    assert "w.csv: no such file" in found[2]
    assert "Did you mean 'shop-sql'?" in found[3]


def test_a_path_that_was_meant_from_the_other_folder(place: Path) -> None:
    path = place / "recipes" / "r.yaml"
    path.write_text(GOOD)
    (found,) = problems_of(path)
    assert "Paths in a recipe start at the recipe's folder. Did you mean ../rows.jsonl?" in found
    (found,) = problems_of(path, "data.train=own.jsonl")
    assert "Paths in an override start at the current folder. Did you mean recipes/own.jsonl?" in found
    require_inputs(load_recipe(path, ["data.train=rows.jsonl"]))


def test_a_good_recipe_is_checked_without_torch(place: Path) -> None:
    (place / "good.yaml").write_text(GOOD)
    code = (
        "import sys; from luthier.cli.app import main; assert main(['recipe', 'check', 'good.yaml']) == 0;"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_on_the_hub_is_not_fetched_for_a_check(place: Path) -> None:
    (place / "hub.yaml").write_text(GOOD.replace("rows.jsonl", "'hub:owner/name'"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("luthier.data.find_files.hub_files", lambda name: pytest.fail(f"{name} was fetched"))
        require_inputs(load_recipe(place / "hub.yaml"))
    assert "no such file" in problems_of(place / "hub.yaml", "data.train=[hub:owner/name, gone.jsonl]")[0]


def test_a_recipe_from_python(place: Path) -> None:
    content = {"model": {"name": "smollm2-135m-instruct"}, "data": {"train": "demo:shop-sql"}, "run": {"name": "r"}}
    require_inputs(load_recipe(content))
    with pytest.raises(RecipeError, match=r"recipe: 1 problem\n  data\.train: .*no such generated data"):
        require_inputs(load_recipe(content | {"data": {"train": "demo:shop"}}))
