"""A run is found by its name below ./runs or by its path; a miss names what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.runs.find import find_run


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def test_by_name_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = make_run(tmp_path / "runs" / "first")
    elsewhere = make_run(tmp_path / "other" / "second")
    beside = make_run(tmp_path / "third")
    assert find_run("first").resolve() == named
    assert find_run("runs/first").resolve() == named
    assert find_run(str(elsewhere)) == elsewhere
    assert find_run("other/second").resolve() == elsewhere
    assert find_run("third").resolve() == beside


def test_a_name_wins_over_a_folder_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = make_run(tmp_path / "runs" / "first")
    make_run(tmp_path / "first")
    assert find_run("first").resolve() == named


def test_a_miss_names_the_runs_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "first")
    with pytest.raises(
        RunError, match=r"No run at runs/frist. Did you mean 'first'\? Runs there, newest first: first\."
    ):
        find_run("frist")
    with pytest.raises(RunError, match="There are no runs in"):
        find_run("nowhere/first")
