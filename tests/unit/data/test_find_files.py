"""What folders and patterns stand for."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.data.find_files import find_files
from luthier.errors import DataError


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"text": "x"}\n')


def names(folder: Path, files: tuple[str, ...]) -> list[str]:
    return [str(Path(file).relative_to(folder)) for file in files]


def test_a_folder_is_all_readable_files_below_it_sorted(tmp_path):
    fill(tmp_path, "b.jsonl", "a.jsonl.gz", "sub/c.ndjson", "image.png", ".hidden.jsonl", ".git/d.jsonl")
    assert names(tmp_path, find_files([tmp_path])) == ["a.jsonl.gz", "b.jsonl", "sub/c.ndjson"]


def test_patterns(tmp_path):
    fill(tmp_path, "b.jsonl", "a.jsonl", "sub/c.jsonl", "d.csv")
    assert names(tmp_path, find_files([f"{tmp_path}/*.jsonl"])) == ["a.jsonl", "b.jsonl"]
    assert names(tmp_path, find_files([f"{tmp_path}/**/*.jsonl"])) == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]


def test_names_of_files_stay_as_they_are_even_if_missing_or_odd(tmp_path):
    fill(tmp_path, "a[1].jsonl")
    assert find_files(["demo:shop-sql", "nowhere.jsonl", str(tmp_path / "a[1].jsonl")]) == (
        "demo:shop-sql",
        "nowhere.jsonl",
        str(tmp_path / "a[1].jsonl"),
    )


def test_several_kinds_are_refused_with_a_list(tmp_path):
    fill(tmp_path, "README.md", "a.jsonl", "b.jsonl")
    with pytest.raises(DataError) as caught:
        find_files([tmp_path])
    message = str(caught.value)
    assert "README.md" in message
    assert "a.jsonl" in message
    assert f"'{tmp_path}/**/*.jsonl'" in message
    assert names(tmp_path, find_files([f"{tmp_path}/**/*.jsonl"])) == ["a.jsonl", "b.jsonl"]


@pytest.mark.parametrize("name", ["", "/*.jsonl"])
def test_nothing_to_read(tmp_path, name):
    fill(tmp_path, "image.png")
    with pytest.raises(DataError, match=r"no file"):
        find_files([f"{tmp_path}{name}"])


def test_a_file_that_is_meant_twice_is_refused(tmp_path):
    fill(tmp_path, "a.jsonl")
    with pytest.raises(DataError, match="more than once"):
        find_files([tmp_path, tmp_path / "a.jsonl"])
