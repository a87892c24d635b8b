"""Advice with files: what is measured wins over what is said, and the recipe that is written is a recipe."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luthier.advise.questions import QUESTIONS, understood
from luthier.advise.situation import Situation
from luthier.config.load import load_recipe, resolve
from luthier.errors import InputError
from luthier.evaluation.statistics.intervals import Interval
from luthier.workflows.advise import AdviseRequest, advise, said_in_words
from tests.tiny import save_tiny_model, write_chat_rows

TRIED = Situation(few_shot_tried=True, strict_format=True)


def write_rows(path: Path, num_rows: int, *, conflicting: int = 0) -> Path:
    """Questions with answers; the first few are asked twice and answered differently."""
    rows = [
        {"question": f"What is {i} times {i + 3}, please?", "answer": f"It is {i * (i + 3)}."} for i in range(num_rows)
    ]
    rows += [{**rows[i], "answer": f"That would be {i} and a bit."} for i in range(conflicting)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(save_tiny_model(tmp_path / "model"))


def test_the_number_of_rows_is_counted_not_believed(tmp_path: Path, model: str) -> None:
    data = write_chat_rows(tmp_path / "few.jsonl", 48)
    result = advise(AdviseRequest(said=replace(TRIED, rows=9000), data=(str(data),), model=model))
    assert result.situation.rows == 48
    assert result.decision.verdict == "prompt"
    assert "red.few-examples" in result.decision.blocked_by


def test_contradictions_are_measured(tmp_path: Path, model: str) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 180, conflicting=20)
    result = advise(AdviseRequest(said=TRIED, data=(str(data),), model=model))
    share = result.situation.conflict_share
    assert share is not None
    assert share == pytest.approx(40 / 200)  # both rows of each of twenty pairs
    assert "red.contradictions" in {s.rule for s in result.statements}


def test_a_written_recipe_is_one(tmp_path: Path, model: str) -> None:
    data = write_rows(tmp_path / "rows.jsonl", 600)
    path = tmp_path / "my.yaml"
    result = advise(AdviseRequest(said=TRIED, data=(str(data),), model=model, recipe=path, gpu="T4"))
    assert result.recipe == path
    recipe: Any = resolve(load_recipe(path))
    assert recipe.data.train == (str(data),)
    assert (recipe.adapter.rank, recipe.train.learning_rate, recipe.train.epochs) == (16, 2e-4, 3.0)
    assert "# setting.rate-adapter" in path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="exists already"):
        advise(AdviseRequest(said=TRIED, data=(str(data),), model=model, recipe=path))


def test_no_recipe_for_what_is_not_advised_or_cannot_be_run(tmp_path: Path, model: str) -> None:
    few = write_chat_rows(tmp_path / "few.jsonl", 20)
    path = tmp_path / "my.yaml"
    result = advise(AdviseRequest(said=TRIED, data=(str(few),), model=model, recipe=path))
    assert result.recipe is None
    assert "not advised" in result.recipe_fault
    pairs = tmp_path / "pairs.jsonl"
    row = {"prompt": "Say {}.", "chosen": "Gladly, here is {}.", "rejected": "No {}."}
    lines = [json.dumps({k: v.format(i) for k, v in row.items()}) for i in range(600)]
    pairs.write_text("\n".join(lines), encoding="utf-8")
    result = advise(AdviseRequest(data=(str(pairs),), model=model, recipe=path))
    assert result.method is not None
    assert [stage.method for stage in result.method.stages] == ["sft", "dpo"]
    assert result.recipe is None
    assert "No recipe was written" in result.recipe_fault
    assert not path.exists()


def test_a_model_is_chosen_by_card_hours_and_licence() -> None:
    said = replace(TRIED, rows=2000, kind="chat", task="code")
    request = AdviseRequest(said=said, gpu="T4", licence="apache", hours=1000.0)
    large = advise(request).base
    small = advise(replace(request, said=replace(said, latency_ms=100))).base
    assert large is not None
    assert small is not None
    assert "Apache" in large.facts["licence"]
    assert "code" in large.facts["strengths"]
    # 16-bit weights of 16 GiB hold less than 8 billion parameters; a fast answer wants a small model
    assert _billions(small.facts["size"]) <= 4.5
    assert _billions(small.facts["size"]) <= _billions(large.facts["size"]) < 8


def _billions(size: str) -> float:
    return float(size[:-1]) / (1 if size.endswith("B") else 1000)


def test_baselines_are_measured(tmp_path: Path, model: str) -> None:
    from luthier.reporter import Silent
    from luthier.workflows.baselines import measure_baselines

    write_rows(tmp_path / "eval.jsonl", 30)
    task = tmp_path / "task.yaml"
    task.write_text(
        "name: sums\ndata: eval.jsonl\nprompt: question\nreference: answer\nscorer: exact_match\nexamples: 4\n"
        "max_new_tokens: 4\n"
    )
    measured = measure_baselines(str(task), model, target=0.9, limit=None, reporter=Silent())
    assert (measured.interval.mean, measured.verdict, measured.result.num_rows) == (0.0, "falls short", 26)
    few = measure_baselines(str(task), model, target=0.9, limit=8, reporter=Silent())
    assert (few.verdict, few.examples_effect) == ("too few rows", "too few rows")


@pytest.mark.parametrize(
    ("interval", "num_rows", "verdict"),
    [
        (Interval(0.97, 0.93, 0.99), 200, "suffices"),
        (Interval(0.40, 0.31, 0.49), 100, "falls short"),
        (Interval(0.88, 0.80, 0.93), 90, "unclear"),
        (Interval(1.00, 0.76, 1.00), 12, "too few rows"),
    ],
)
def test_an_interval_against_a_target(interval: Interval, num_rows: int, verdict: str) -> None:
    from luthier.workflows.baselines import against_target

    assert against_target(interval, num_rows, 0.9) == verdict


def test_rows_that_would_tell() -> None:
    from luthier.workflows.baselines import rows_that_tell

    # 1.96² · 0.8 · 0.2 / 0.1² = 61.5; nothing tells 0.9 from 0.9
    assert rows_that_tell(0.8, 0.9) == 62
    assert rows_that_tell(0.9, 0.9) == 100_000


def test_nothing_said_and_words_that_are_neither() -> None:
    with pytest.raises(InputError, match="Nothing was said"):
        advise(AdviseRequest())
    with pytest.raises(InputError, match="--few-shot-tried takes yes or no, not 'maybe'"):
        said_in_words({"few_shot_tried": "maybe"})
    assert said_in_words({"few_shot_tried": "no", "prompt_suffices": "YES"}) == Situation(
        few_shot_tried=False, prompt_suffices=True
    )


def test_answers_to_questions() -> None:
    by_name = {question.name: question for question in QUESTIONS}
    assert set(by_name) - {"data"} <= set(Situation.__dataclass_fields__)
    assert understood(by_name["few_shot_tried"], " Y ") is True
    assert understood(by_name["few_shot_tried"], "") is None
    assert understood(by_name["volume"], "20,000") == 20000
    with pytest.raises(ValueError, match="whole number"):
        understood(by_name["volume"], "many")


def test_the_command_that_is_shown_says_what_was_said() -> None:
    from luthier.cli.app import main

    said = Situation(few_shot_tried=True, persona=False, volume=300, task="maths", fresh_knowledge=True)
    command = AdviseRequest(said=said).command("a.jsonl")
    assert command == (
        "luthier advise --task maths --needs-fresh-knowledge --no-persona --few-shot-tried yes --volume 300 --data a.jsonl"
    )
    assert main([*command.split()[1:-2], "--json"]) == 0
