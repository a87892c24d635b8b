from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.errors import InputError
from luthier.runs.folder import RunFolder
from luthier.workflows import evaluate as workflow
from luthier.workflows.evaluate import evaluate
from tests.unit.evaluation.fakes import FAKE_CONTRACT, FakeEngine, FakeTask, FakeTemplate


class _Loaded(SimpleNamespace):
    """What `load_run` gives, with engines that need no model: the tuned one knows, the base one does not."""

    def engine(self) -> FakeEngine:
        return FakeEngine(lambda prompt, _: prompt.replace("|", "").split("q")[-1].join(["a", ""]))

    def base_engine(self) -> FakeEngine:
        return FakeEngine(lambda _, use_adapter: "adapter was on" if use_adapter else None)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = RunFolder.create(tmp_path / "run")
    recipe = SimpleNamespace(evaluate=SimpleNamespace(tasks=("numbers",)))

    def load_run(path: Path, reporter: Any) -> _Loaded:
        assert path == folder.path
        return _Loaded(folder=folder, recipe=recipe, contract=FAKE_CONTRACT, template=FakeTemplate())

    monkeypatch.setattr(workflow, "load_run", load_run)
    monkeypatch.setattr(workflow, "write_report", lambda path: (path / "report.html").touch())
    monkeypatch.setitem(workflow.BUILT_IN_TASKS, "numbers", FakeTask)
    return folder.path


def test_the_recipes_tasks_are_answered_by_both_engines_and_saved(run: Path) -> None:
    result = evaluate(run)
    (task,) = result.tasks
    assert task["tuned"].mean.mean == 1.0
    assert task["base"].mean.mean == 0.0
    assert {answer.text for answer in task["base"].answers} == {"x" * 7}
    summary = json.loads((run / "evaluation" / "numbers" / "summary.json").read_text())
    assert summary["comparisons"][0]["verdict"] == "better"
    content = result.to_json()
    assert content["run"] == str(run)
    assert content["tasks"]["numbers"]["contenders"]["tuned"]["accuracy"] == 1.0
    json.dumps(content)
    assert (run / "report.html").is_file()


def test_a_task_file_is_taken_by_its_path(run: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"q": f"q{i}", "a": f"a{i}"}) + "\n" for i in range(25)))
    task = tmp_path / "mine.yaml"
    task.write_text("name: mine\ndata: rows.jsonl\nprompt: q\nreference: a\nscorer: exact_match\n")
    (result,) = evaluate(run, tasks=[str(task)]).tasks
    assert (result.task, result.num_rows, result["tuned"].mean.mean) == ("mine", 25, 1.0)


def test_two_tasks_of_one_name_are_refused(run: Path) -> None:
    with pytest.raises(InputError, match="Two tasks have the name numbers"):
        evaluate(run, tasks=["numbers", "numbers"])
    assert not (run / "evaluation").exists()


def test_unknown_tasks_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no task 'nonsense'"):
        evaluate(tmp_path / "there is no run here", tasks=["nonsense"])


def test_no_task_anywhere_is_explained(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = workflow.load_run

    def without_tasks(path: Path, reporter: Any) -> Any:
        loaded = real(path, reporter=reporter)
        loaded.recipe.evaluate.tasks = ()
        return loaded

    monkeypatch.setattr(workflow, "load_run", without_tasks)
    with pytest.raises(InputError, match="say what to measure: --task"):
        evaluate(run)
