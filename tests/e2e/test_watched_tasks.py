"""Tasks answered during training: scores over time, the best checkpoint by one of them, and an end when too much is forgotten."""

from __future__ import annotations

import html
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from luthier.config.load import load_recipe
from luthier.errors import InputError, RecipeError
from luthier.workflows import train as workflow
from tests.e2e.test_progress import Crash, CrashesAt, lines, same, state
from tests.tiny import save_tiny_model

pytestmark = [pytest.mark.usefixtures("own_cache"), pytest.mark.slow]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, rows that teach it to write one strange line, and two small tasks: one about that line, one about other text."""
    folder = tmp_path_factory.mktemp("watched")
    save_tiny_model(folder / "model")
    rows = [{"question": f"thing {i}?", "answer": "#" * 12} for i in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held = [{"question": f"other {i}?", "answer": "#" * 12, "text": f"The house number {i} is red."} for i in range(24)]
    (folder / "held.jsonl").write_text("".join(json.dumps(row) + "\n" for row in held))
    tasks: dict[str, dict[str, Any]] = {
        "learnt": {"prompt": "question", "scorer": {"kind": "regex", "pattern": "###"}, "max_new_tokens": 12},
        "other": {"reference": "text", "scorer": {"kind": "perplexity", "prompt_format": "text"}},
    }
    for name, task in tasks.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "data": "held.jsonl", **task}))
    return folder


def recipe(place: Path, name: str, **changes: Any) -> Any:
    content: dict[str, Any] = {
        "model": {"name": str(place / "model")},
        "data": {"train": str(place / "rows.jsonl"), "validation": str(place / "held.jsonl")},
        "run": {"name": name, "folder": str(place / "runs")},
        "adapter": {"kind": "lora", "dropout": 0.1},
        "train": {"max_steps": 16, "batch_size": 8, "learning_rate": 5e-2, "num_threads": 1, "evaluate_every": 4},
        "precision": {"compute": "fp32"},
        "evaluate": {"stop_test_rows": 0, "sample_prompts": 0},
    }
    for key, value in changes.items():
        section, _, field = key.partition("__")
        content[section] = {**content.get(section, {}), field: value} if field else value
    return load_recipe(content)


def during(place: Path, *names: str) -> list[str]:
    return [str(place / f"{name}.yaml") if (place / f"{name}.yaml").is_file() else name for name in names]


def test_scores_at_every_validation_change_nothing_of_the_training(place: Path) -> None:
    plain = workflow.train(recipe(place, "plain")).run
    watched = workflow.train(
        recipe(place, "watched", evaluate__during=during(place, "learnt", "other"), evaluate__during_rows=6)
    ).run
    assert same(state(plain), state(watched))
    assert not (plain / "scores_over_time.jsonl").exists()
    scores = lines(watched, "scores_over_time.jsonl")
    assert [(s["step"], s["task"]) for s in scores] == [
        (step, task) for step in (0, 4, 8, 12, 16) for task in ("learnt", "other")
    ]
    assert {s["num_rows"] for s in scores} == {6}
    learnt = [s["value"] for s in scores if s["task"] == "learnt"]
    assert (learnt[0], learnt[-1]) == (0.0, 1.0)
    validations = [m for m in lines(watched, "metrics.jsonl") if m["kind"] == "validation"]
    assert [m["learnt.match"] for m in validations] == learnt
    assert all(m["task_seconds"] > 0 for m in validations)
    assert "perplexity" in scores[1]["numbers"]
    page = (watched / "report.html").read_text()
    assert "learnt: match" in page
    assert "other: bits per byte" in page


def test_the_best_checkpoint_and_the_result_follow_the_task(place: Path) -> None:
    """At this rate the loss is worst at the first validation, where other text is known best; both by far."""
    options = {
        "train__learning_rate": 2e-2,
        "evaluate__during": during(place, "other"),
        "evaluate__best_by": "other.bits_per_byte",
    }
    result = workflow.train(recipe(place, "by-task", **options))
    scores = {s["step"]: s["value"] for s in lines(result.run, "scores_over_time.jsonl") if s["step"] > 0}
    losses = {
        m["step"]: m["loss"] for m in lines(result.run, "metrics.jsonl") if m["kind"] == "validation" and m["step"]
    }
    by_task, by_loss = (min(table, key=lambda step, table=table: table[step]) for table in (scores, losses))
    assert by_task != by_loss
    assert result.result_step == by_task
    assert result.validation_loss == losses[by_task]
    index = json.loads((result.run / "checkpoints/index.json").read_text())
    assert index["best"]["criterion"] == scores[by_task]


def test_of_shares_more_is_better(place: Path) -> None:
    options = {"evaluate__during": during(place, "learnt"), "evaluate__best_by": "learnt.accuracy"}
    result = workflow.train(recipe(place, "by-share", **options))
    scores = {s["step"]: s["value"] for s in lines(result.run, "scores_over_time.jsonl") if s["step"] > 0}
    assert scores[result.result_step] == max(scores.values()) > 0
    assert result.result_step == min(step for step in scores if scores[step] == max(scores.values())), (
        "the first of equals"
    )


PATIENT = {
    "train__max_steps": 40,
    "train__evaluate_every": 2,
    "train__early_stopping_patience": 2,
    "evaluate__best_by": "other.bits_per_byte",
}
FORGETFUL = {
    "train__max_steps": 40,
    "evaluate__stop_when_forgotten": True,
    "evaluate__forgetting_tolerance": 0.003,
    "train__evaluate_every": 6,
    "train__checkpoint_every": 2,
    "evaluate__general": "never",
}


@pytest.mark.parametrize(
    ("tasks", "options", "words"),
    [
        (["other"], PATIENT, "the last 2 validations brought no better other.bits_per_byte"),
        (["general-text"], FORGETFUL, "the general suite shows a loss of more than evaluate.forgetting_tolerance"),
    ],
)
def test_what_ends_the_training_ends_it_after_a_resume_too(
    place: Path, tasks: list[str], options: dict[str, Any], words: str
) -> None:
    options = {**options, "evaluate__during": during(place, *tasks)}
    whole = workflow.train(recipe(place, f"whole-{tasks[0]}", **options))
    assert whole.steps < 40
    assert words in (whole.stopped_early or "")
    for name, crash in (
        ("before", CrashesAt(step=whole.steps - 1)),
        ("at-end", CrashesAt(stage="Save and verify the result")),
    ):
        with pytest.raises(Crash):
            workflow.train(recipe(place, f"{name}-{tasks[0]}", **options), reporter=crash)
        result = workflow.resume(place / f"runs/{name}-{tasks[0]}")
        assert (result.steps, result.result_step) == (whole.steps, whole.result_step)
        assert same(state(result.run), state(whole.run))
        assert same(*(load_file(run / "adapter/adapter_model.safetensors") for run in (result.run, whole.run)))
        assert [(s["step"], s["scores"]) for s in lines(result.run, "scores_over_time.jsonl")] == [
            (s["step"], s["scores"]) for s in lines(whole.run, "scores_over_time.jsonl")
        ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluate__best_by": "learnt.accuracy"}, "needs the task among `during`"),
        ({"evaluate__best_by": "accuracy", "evaluate__during": ["general"]}, "must be loss or TASK.METRIC"),
        ({"evaluate__stop_when_forgotten": True, "evaluate__during": ["general"]}, "needs a forgetting_tolerance"),
        ({"evaluate__stop_when_forgotten": True, "evaluate__forgetting_tolerance": 0.1}, "needs the suite among"),
        ({"evaluate__during": ["generally"]}, "Did you mean 'general'"),
        ({"evaluate__during": ["memorisation"]}, "asks with all rows of a finished run"),
        (
            {"evaluate__during": ["general"], "data__validation": [], "data__validation_fraction": 0},
            "no validation rows",
        ),
        (
            {"evaluate__during": ["refusals"], "evaluate__best_by": "refusals.over_refusal"},
            "no checkpoint can be chosen",
        ),
        ({"evaluate__during": ["refusals"], "evaluate__best_by": "other.score"}, "there is no task 'other' among"),
    ],
)
def test_what_cannot_be_watched_is_refused_before_anything_is_loaded(
    place: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises((RecipeError, InputError), match=words):
        workflow.train(recipe(place, "refused", **changes))
    assert not (place / "runs/refused").exists()


def test_learning_by_heart_is_told_with_the_rows_that_show_it(place: Path) -> None:
    """Random answers cannot generalise: what is learnt of them makes held-out ones worse."""
    draw = random.Random(0)
    for name, num_rows in (("noise", 12), ("other-noise", 40)):
        rows = [
            {"question": f"{name} {i}?", "answer": "".join(draw.choice("abcdefgh") for _ in range(16))}
            for i in range(num_rows)
        ]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {
        "data__train": str(place / "noise.jsonl"),
        "data__validation": str(place / "other-noise.jsonl"),
        "adapter": {"kind": "none"},
        "train__learning_rate": 2e-2,
        "train__max_steps": 80,
        "train__evaluate_every": 10,
    }
    result = workflow.train(recipe(place, "by-heart", **options))
    losses = {m["step"]: m["loss"] for m in lines(result.run, "metrics.jsonl") if m["kind"] == "validation"}
    found = json.loads((result.run / "overfitting.json").read_text())
    assert result.result_step < result.steps == 80
    # All rows are compared, weighed by their tokens: the mean difference is that of the validation losses.
    rise = losses[80] - losses[result.result_step]
    assert found["comparison"]["difference"]["mean"] == pytest.approx(rise, rel=1e-4)
    assert found["comparison"]["num_rows"] == 40
    assert found["is_shown"]
    assert found["sentence"] in html.unescape((result.run / "report.html").read_text())
