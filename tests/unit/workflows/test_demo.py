from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from luthier.config.load import load_recipe
from luthier.errors import InputError
from luthier.evaluation.contenders import ContenderName
from luthier.evaluation.protocol import Score, TaskRow
from luthier.evaluation.result import Answer, ContenderResult, TaskResult
from luthier.types import Check, Message
from luthier.workflows.demo import RECIPE, DemoResult, choose_examples, gates
from luthier.workflows.demo import ContenderResult as Share
from luthier.workflows.evaluate import find_task


def _contender(name: ContenderName, right: Sequence[bool], kinds: Sequence[str]) -> ContenderResult:
    answers = []
    for i, (is_right, kind) in enumerate(zip(right, kinds, strict=True)):
        row = TaskRow(str(i), (Message("user", f"q{i}"),), f"SELECT {i}", {"kind": kind})
        answers.append(Answer(row, name, "p", f"{name}{i}", Score(float(is_right), ""), "stop", 3))
    return ContenderResult(name, tuple(answers))


def _result(base: Sequence[bool], few_shot: Sequence[bool], tuned: Sequence[bool], kinds: Sequence[str]) -> TaskResult:
    contenders = (
        _contender("base", base, kinds),
        _contender("few_shot", few_shot, kinds),
        _contender("tuned", tuned, kinds),
    )
    return TaskResult("shop-sql", "execution_accuracy", "sql_execution", contenders, 1.0)


def _share(right: int, rows: int = 100) -> list[bool]:
    return [i < right for i in range(rows)]


def _by_name(checks: Sequence[Check]) -> dict[str, bool]:
    return {check.name: check.passed for check in checks}


@pytest.mark.parametrize(
    ("base", "few_shot", "tuned", "gain", "beats"),
    [
        (2, 30, 75, True, True),
        (2, 30, 51, False, True),  # 49 points are not 50
        (0, 50, 50, True, False),
        (40, 20, 60, False, True),
        (60, 60, 10, False, False),
    ],
)
def test_gates(base: int, few_shot: int, tuned: int, gain: bool, beats: bool) -> None:
    result = _result(_share(base), _share(few_shot), _share(tuned), ["join"] * 100)
    assert _by_name(gates(result)) == {"demo.heldout": True, "demo.gain": gain, "demo.beats_few_shot": beats}


def test_examples_show_two_gains_and_a_failure() -> None:
    kinds = ["list", "join", "join", "count", "group"]
    result = _result(
        base=[False, False, False, False, True],
        few_shot=[True, False, False, False, True],
        tuned=[True, False, True, True, True],
        kinds=kinds,
    )
    examples = choose_examples(result)
    assert [e.question for e in examples] == ["q2", "q3", "q1"]
    assert [(e.base_correct, e.few_shot_correct, e.tuned_correct) for e in examples] == [
        (False, False, True),
        (False, False, True),
        (False, False, False),
    ]
    assert (examples[0].reference_sql, examples[0].base, examples[0].tuned) == ("SELECT 2", "base2", "tuned2")


def test_examples_are_three_also_where_nothing_differs() -> None:
    for right in (True, False):
        same = [right] * 4
        questions = [e.question for e in choose_examples(_result(same, same, same, ["list"] * 4))]
        assert len(questions) == len(set(questions)) == 3


def test_recipe_is_accepted() -> None:
    loaded = load_recipe({**RECIPE, "run": {"name": "demo", "folder": "runs"}})
    assert loaded.recipe.data.train == ("demo:shop-sql",)
    assert loaded.recipe.evaluate.tasks == ("shop-sql",)


def test_json_of_the_result() -> None:
    result = _result(_share(0), _share(30), _share(70), ["join"] * 100)
    checks = [*gates(result), Check("x", "c", 1, 2, "", False, "a")]
    share = Share(0.7, 0.6, 0.8, 100)
    demo = DemoResult(
        run=Path("runs/demo"),
        report=Path("runs/demo/report.html"),
        seconds=1.234,
        base=share,
        few_shot=share,
        tuned=share,
        difference=result.comparison("tuned", "base").difference,
        difference_few_shot=result.comparison("tuned", "few_shot").difference,
        examples=choose_examples(result),
        checks=checks,
    )
    content = demo.to_json()
    assert list(content) == ["run", "seconds", "base", "few_shot", "tuned", "difference", "checks"]
    assert content["tuned"] == {"execution_accuracy": 0.7, "low": 0.6, "high": 0.8, "rows": 100}
    assert content["difference"]["mean"] == pytest.approx(0.7)
    assert content["checks"] == {"passed": 3, "failed": 1}


def test_unknown_tasks_are_explained() -> None:
    with pytest.raises(InputError, match="Did you mean 'shop-sql'"):
        find_task("shop_sql")
    with pytest.raises(InputError, match=r"my\.yaml"):
        find_task("my.yaml")
    assert find_task("shop-sql").scorer.metric == "execution_accuracy"
