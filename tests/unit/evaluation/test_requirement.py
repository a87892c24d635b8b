from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from luthier.errors import InputError
from luthier.evaluation.protocol import Score, TaskRow
from luthier.evaluation.requirement import parse_requirement
from luthier.evaluation.result import Answer, ContenderResult, TaskResult
from luthier.evaluation.statistics.intervals import wilson
from luthier.evaluation.statistics.paired import tango
from luthier.types import Message
from tests.unit.evaluation.fakes import FakeTask


def _contender(name: Any, scores: list[float], kept: float, figures: dict[str, Any]) -> ContenderResult:
    answers = tuple(
        Answer(
            TaskRow(str(i), (Message("user", "q"),), "a"),
            name,
            "p",
            "t",
            Score(s, "", measures={"kept": kept}),
            "stop",
            3,
        )
        for i, s in enumerate(scores)
    )
    return ContenderResult(name, answers, figures)


RESULT = TaskResult(
    "my-sql",
    "execution_accuracy",
    "sql_execution",
    (
        _contender("base", [1.0] * 10 + [0.0] * 30, 0.25, {"macro_f1": 0.2, "confusion": {}}),
        _contender("few_shot", [1.0] * 20 + [0.0] * 20, 0.5, {"macro_f1": 0.3}),
        _contender("tuned", [1.0] * 30 + [0.0] * 10, 0.75, {"macro_f1": 0.6}),
    ),
    1.0,
)
LOW, HIGH = (float(x) for x in tango(20, 0, 40))


@pytest.mark.parametrize(
    ("text", "left", "right", "met"),
    [
        ("my-sql.accuracy >= base + 0.2", 0.75, 0.45, True),
        ("my-sql.accuracy>=base+60%", 0.75, 0.85, False),
        ("my-sql.execution_accuracy > 0.75", 0.75, 0.75, False),
        ("my-sql.score ≥ .75", 0.75, 0.75, True),
        ("base + 0.1 <= my-sql.score - 0.2", 0.35, 0.55, True),
        ("my-sql.accuracy - fewshot > 20 %", 0.25, 0.2, True),
        ("my-sql.accuracy >= few_shot", 0.75, 0.5, True),
        ("lower(my-sql.accuracy) > 0.6", wilson(30, 40).low, 0.6, False),
        ("lower(my-sql.accuracy - base) > 0.3", LOW, 0.3, True),
        ("upper(my-sql.accuracy - base) < 0.6", HIGH, 0.6, HIGH < 0.6),
        ("my-sql.accuracy > upper(base)", 0.75, wilson(10, 40).high, True),
        ("my-sql.kept >= base + 0.5", 0.75, 0.75, True),
        ("my-sql.macro_f1 > base + fewshot", 0.6, 0.5, True),
        ("-0.1 < my-sql.score", -0.1, 0.75, True),
    ],
)
def test_judged(text: str, left: float, right: float, met: bool) -> None:
    verdict = parse_requirement(text).judge({"my-sql": RESULT})
    assert (verdict.left, verdict.right) == pytest.approx((left, right))
    assert verdict.met is met
    assert verdict.sentence().startswith("met: " if met else "NOT met: ")
    assert f"left {left:.4f}, right {right:.4f}" in verdict.sentence()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "something is missing at its end"),
        ("sql.accuracy", "expected a comparison (>=, >, <=, <), found the end"),
        ("sql.accuracy = 3", "'= 3' cannot be read"),
        ("sql.accuracy >=", "something is missing"),
        ("sql.accuracy > 1 > 2", "'>' stands behind a whole comparison"),
        ("sql.accuracy > (1)", "expected a name or a number, found ("),
        ("accuracy > 1", "'accuracy' is neither task.metric nor one of base, fewshot, tuned"),
        ("base > 1", "must name one task.metric, and names none"),
        ("a.x > b.y", "must name one task.metric, and names a.x, b.y"),
        ("lower sql.accuracy > 1", "expected ( behind it, found sql.accuracy"),
        ("lower(0.2) > sql.accuracy", "expected a name or a number, found 0.2"),
        ("lower(sql.accuracy > 1", "expected ), found >"),
        ("__import__('os').system('true') > sql.x", "cannot be read"),
    ],
)
def test_what_is_no_requirement(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_requirement(text)
    assert words in str(caught.value)
    assert "sql.accuracy >= base + 0.2" in str(caught.value)


def test_names_are_checked_before_the_run() -> None:
    task = FakeTask(3)
    parse_requirement("numbers.accuracy > base").check_names([task])
    for text, words in [
        ("sql.accuracy > base", "there is no task 'sql' in this evaluation, only: numbers"),
        ("numbers.acuracy > base", "the task numbers measures no 'acuracy', but: accuracy"),
        ("numbers.accuracy > fewshot", "has no examples, so there is no contender fewshot"),
    ]:
        with pytest.raises(InputError, match=words):
            parse_requirement(text).check_names([task])


def test_a_figure_over_all_rows_has_no_interval() -> None:
    with pytest.raises(InputError, match="macro_f1 is worked out over all rows and has no interval"):
        parse_requirement("lower(my-sql.macro_f1) > 0.1").judge({"my-sql": RESULT})


def test_other_contenders_may_be_named() -> None:
    rival = _contender("gpt-4.1", [1.0] * 36 + [0.0] * 4, 0.5, {})
    result = replace(RESULT, contenders=(*RESULT.contenders, rival))
    requirement = parse_requirement("my-sql.accuracy >= gpt-4.1 - 0.1", ["gpt-4.1"])
    assert requirement.contenders == {"tuned", "gpt-4.1"}
    verdict = requirement.judge({"my-sql": result})
    assert (verdict.left, verdict.right, verdict.met) == (0.75, 0.8, False)
    with pytest.raises(InputError, match=r"gpt-4\.1 gave no answers to my-sql"):
        requirement.judge({"my-sql": RESULT})
    with pytest.raises(InputError, match="must name one task"):
        parse_requirement("my-sql.accuracy >= gpt-4.1")
