"""Runs side by side: paired scores on shared rows, notes about what does not compare, the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luthier.cli.app import main
from luthier.errors import InputError, RunError
from luthier.workflows.compare import compare_runs, contenders_of
from tests.unit.pages.run_folder import DATA, manifest, metrics, write_json, write_lines

RECIPE = "model:\n  name: m  # r.yaml:1\ntrain:\n  learning_rate: {rate}  # r.yaml:2\n  epochs: 1.0  # default\n"


def make_run(folder: Path, rate: str, scores: dict[str, float], **changes: Any) -> Path:
    place = folder / "evaluation" / "sql"
    place.mkdir(parents=True)
    write_json(folder / "run.json", manifest(name=folder.name, **changes))
    write_json(folder / "data.json", DATA)
    (folder / "recipe.resolved.yaml").write_text(RECIPE.format(rate=rate))
    write_lines(folder / "metrics.jsonl", metrics())
    write_json(place / "summary.json", {"task": "sql", "metric": "execution_accuracy"})
    rows = [
        {"id": key, "question": f"q{key}", "reference": "r", "contender": contender, "score": value * share}
        for key, value in scores.items()
        for contender, share in (("base", 0.0), ("tuned", 1.0))
    ]
    write_lines(place / "rows.jsonl", rows)
    return folder


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    first = {str(i): float(i % 4 == 0) for i in range(60)}
    second = {str(i): float(i % 4 != 1) for i in range(2, 62)}
    return [make_run(tmp_path / "a", "0.001", first), make_run(tmp_path / "b<i>", "2e-4", second)]


def test_scores_are_paired_on_the_rows_that_both_answered(two: list[Path]) -> None:
    result = compare_runs(two)
    (task,) = result.tasks
    shared = range(2, 60)
    differences = [float(i % 4 != 1) - float(i % 4 == 0) for i in shared]
    assert task.comparison.num_rows == 58
    assert task.num_unshared == 4
    assert task.comparison.difference.mean == pytest.approx(np.mean(differences))
    assert (task.comparison.first, task.comparison.second) == ("b<i>", "a")
    assert task.comparison.verdict == "better"
    assert any("4 rows that only one of" in note for note in result.notes)
    assert result.recipe == (("train.learning_rate", (0.001, 0.0002)),)
    assert result.data == ()


def test_the_page_holds_all_of_it_and_loads_nothing(two: list[Path]) -> None:
    page = compare_runs(two).page.read_text()
    assert "compare-a-b<i>.html" in str(compare_runs(two).page)
    assert "b&lt;i&gt;" in page
    assert "<i>" not in page
    assert page.count('class="line run-') == 2 + 2
    assert "train.learning_rate" in page
    assert not re.search(r"(src|href)=\"(?!#)", page)


def test_other_rows_other_data_and_unfinished_runs_are_noted(two: list[Path], tmp_path: Path) -> None:
    third = make_run(tmp_path / "c", "0.001", {"other": 1.0}, status="interrupted")
    write_json(third / "data.json", DATA | {"fingerprint": "00"})
    notes = " ".join(compare_runs([two[0], third]).notes)
    assert "both evaluated on sql, but on different rows" in notes
    assert "different tokens" in notes
    assert "Not finished: c" in notes


def test_same_names_in_two_folders_are_told_apart(two: list[Path], tmp_path: Path) -> None:
    other = make_run(tmp_path / "elsewhere" / "a", "0.001", {"1": 1.0})
    result = compare_runs([two[0], other])
    assert [run.name for run in result.runs] == [f"{tmp_path.name}/a", "elsewhere/a"]
    assert result.page.is_file()


def test_what_cannot_be_compared_is_refused(two: list[Path]) -> None:
    with pytest.raises(InputError, match="at least two"):
        compare_runs(two[:1])
    with pytest.raises(InputError, match="twice"):
        compare_runs([two[0], two[0]])
    (two[1] / "recipe.resolved.yaml").unlink()
    with pytest.raises(RunError, match="missing or damaged"):
        compare_runs(two)


def test_command_in_80_columns_and_as_json(two: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, two)]) == 0
    shown = capsys.readouterr().out
    table, _, words = shown.partition("sql: execution_accuracy")
    assert max(map(len, table.splitlines())) <= 80
    assert "learning_rate" in words
    assert "b<i> is better" in words
    assert main(["compare", *map(str, two), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["recipe"] == {"train.learning_rate": [0.001, 0.0002]}
    assert content["runs"][0]["curves"]["train"][0] == [1, 2.9]
    assert content["runs"][0]["train_loss"] == 2.0
    assert content["tasks"][0]["verdict"] == "better"


def test_lists_are_read_as_people_write_them(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, "0.001", {}) for name in ("a", "b")]
    for run, files in zip(runs, ("[one.csv, two.csv]", "[]"), strict=True):
        (run / "recipe.resolved.yaml").write_text(f"data:\n  validation: {files}\n")
    page = compare_runs(runs).page.read_text()
    assert "one.csv, two.csv" in page
    assert "none" in page
    assert "[&#34;" not in page


SEEDED = "model:\n  name: m  # r.yaml:1\ntrain:\n  seed: {rate}  # r.yaml:2\n  epochs: 1.0  # default\n"


def test_runs_that_differ_in_the_seed_alone_show_how_far_seeds_lie_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "RECIPE", SEEDED)
    runs = []
    for seed, score in enumerate((0.6, 0.7, 0.8)):
        runs.append(make_run(tmp_path / f"s{seed}", str(seed), {str(i): float(i < 10 * score) for i in range(10)}))
        contenders = {"tuned": {"execution_accuracy": score}}
        summary = {"task": "sql", "metric": "execution_accuracy", "num_rows": 10, "contenders": contenders}
        write_json(runs[-1] / "evaluation/sql/summary.json", summary)
    (note,) = [note for note in compare_runs(runs).notes if "from seed to seed" in note]
    assert note.startswith(
        "sql, which differs by the seed alone: 3 runs: mean 70.0 points, 10.0 points from seed to seed"
    )


def test_where_less_is_better_less_is_better(two: list[Path]) -> None:
    for run, bits in zip(two, (2.0, 1.0), strict=True):
        write_json(
            run / "evaluation/sql/summary.json",
            {"task": "sql", "metric": "bits_per_byte", "lower_is_better": True, "is_share": False},
        )
        rows = [
            {
                "id": i,
                "question": "q",
                "reference": "r",
                "contender": "tuned",
                "score": bits + i / 100,
                "weight": 10.0 + i,
            }
            for i in range(30)
        ]
        write_lines(run / "evaluation/sql/rows.jsonl", rows)
    (task,) = compare_runs(two).tasks
    assert task.comparison.difference.mean == pytest.approx(-1.0)
    assert task.comparison.verdict == "better"


def test_who_else_answered_is_held_against_the_tuned_model(two: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert contenders_of(two[0]) == ["base"]
    assert main(["compare", str(two[0]), "base", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    (task,) = content["tasks"]
    # The base model has nothing right, the tuned one every fourth of 60 rows.
    assert (task["first"], task["second"], task["verdict"]) == ("base", "a", "worse")
    assert task["difference"]["mean"] == pytest.approx(-0.25)
    assert Path(content["page"]).name == "compare-a-base.html"
    assert main(["compare", str(two[0]), str(two[1]), "base", "--json"]) == 0
    assert [t["first"] for t in json.loads(capsys.readouterr().out)["tasks"]] == ["b<i>", "base"]
    assert main(["compare", str(two[0]), "base"]) == 0
    shown = capsys.readouterr().out
    assert "base is worse" in shown
    assert "recipe" not in shown
    assert main(["compare", str(two[0]), "gpt-4o", "--json"]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "neither a run nor one that answered for a (base)" in message
    assert "--with gpt-4o" in message
