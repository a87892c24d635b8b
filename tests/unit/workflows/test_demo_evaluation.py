from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luthier.config.evaluate import EvaluateSection
from luthier.errors import InputError
from luthier.reporter import Silent
from luthier.runs.folder import RunFolder
from luthier.types import Conversation, Message, Source
from luthier.workflows import evaluate as workflow
from luthier.workflows.evaluate import evaluate
from tests.unit.evaluation.fakes import FAKE_CONTRACT, FakeEngine, FakeTask, FakeTemplate


class _Loaded(SimpleNamespace):
    """What `load_run` gives, with engines that need no model: the tuned one knows, the base one does not."""

    weights = "one"

    def engine(self) -> FakeEngine:
        return FakeEngine(lambda prompt, _: prompt.replace("|", "").split("q")[-1].join(["a", ""]))

    def base_engine(self) -> FakeEngine:
        return FakeEngine(lambda _, use_adapter: "adapter was on" if use_adapter else None)

    def fingerprint(self, *, use_adapter: bool) -> str:
        return f"{self.weights} {use_adapter}"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = RunFolder.create(tmp_path / "run")
    recipe = SimpleNamespace(evaluate=EvaluateSection(tasks=("numbers",)))
    learnt = [Conversation((Message("user", "q3"), Message("assistant", "a3")), source=Source("train.jsonl", 1))]

    def load_run(path: Path, reporter: Any) -> _Loaded:
        assert path == folder.path
        return _Loaded(folder=folder, recipe=recipe, contract=FAKE_CONTRACT, template=FakeTemplate())

    monkeypatch.setattr(workflow, "open_run", lambda _: (folder, recipe))
    monkeypatch.setattr(workflow, "load_run", load_run)
    monkeypatch.setattr(workflow, "read_training_rows", lambda *_: learnt)
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


def test_no_task_anywhere_means_the_general_suite(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SimpleNamespace(evaluate=EvaluateSection())
    monkeypatch.setattr(workflow, "open_run", lambda path: (RunFolder(path), recipe))
    with pytest.raises(
        InputError, match="only: general-text, general-knowledge, general-arithmetic, general-instructions"
    ):
        evaluate(run, requirements=["numbers.accuracy > 0"])


class _Said(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str, level: str = "info") -> None:
        self.said.append(message)


def test_what_the_rows_can_show_is_told_before(run: Path) -> None:
    said = _Said()
    evaluate(run, reporter=said)
    # Connor (1987) with 30 rows and 30 % that differ: (1.96 √0.3 + 0.84 √(0.3 − d²))² / d² = 30.07 at d = 0.269.
    assert said.said[0].startswith("numbers: 30 rows show a difference of 26.9 points or more")


def test_rows_of_the_training_data_are_told_and_counted_apart(run: Path) -> None:
    said = _Said()
    evaluate(run, reporter=said)
    (told,) = [words for words in said.said if "in the training data too" in words]
    assert told.startswith("numbers: 1 of 30 rows are in the training data too (1 equal)")
    assert "n3, the prompt equals train.jsonl:1" in told
    overlap = json.loads((run / "evaluation/numbers/summary.json").read_text())["overlap"]
    assert overlap["rows"] == [{"id": "n3", "kind": "equal", "training_row": "train.jsonl:1"}]
    assert overlap["without"]["num_rows"] == 29
    assert overlap["without"]["contenders"]["tuned"]["mean"] == 1.0
    assert overlap["without"]["comparisons"][0]["num_rows"] == 29


def test_answers_are_kept_and_found_again_unless_fresh_is_asked(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(run)
    assert (first.num_cached, first.num_generated) == (0, 60)
    again = evaluate(run)
    assert (again.num_cached, again.num_generated) == (60, 0)
    fresh = evaluate(run, fresh=True)
    assert (fresh.num_cached, fresh.num_generated) == (0, 60)
    numbers = [[task.to_json() | {"seconds": 0} for task in result.tasks] for result in (first, again, fresh)]
    assert numbers[0] == numbers[1] == numbers[2]
    monkeypatch.setattr(_Loaded, "weights", "other")
    assert evaluate(run).num_generated == 60


def test_gates(run: Path) -> None:
    result = evaluate(run, requirements=["numbers.accuracy >= base + 0.9", "lower(numbers.accuracy - base) > 99 %"])
    point, bound = result.requirements
    assert (point.left, point.right, point.met) == (1.0, 0.9, True)
    assert bound.left == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 30)))  # all rows won: Clopper-Pearson of none lost
    assert not result.passed
    assert [r["met"] for r in result.to_json()["requirements"]] == [True, False]
    with pytest.raises(InputError, match="there is no task 'sql' in this evaluation, only: numbers"):
        evaluate(run, requirements=["sql.accuracy > base"])


def test_markdown_stands_beside(run: Path) -> None:
    evaluate(run)
    text = (run / "evaluation/numbers/summary.md").read_text()
    assert text.startswith("# numbers: accuracy, 30 rows\n")
    assert "| tuned model | **100.0 %** |" in text
    assert "| even | 15 | +100.0 points |" in text
    assert "No row" in text or "None: no row" in text
