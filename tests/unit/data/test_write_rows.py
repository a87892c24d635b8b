"""Files are whole or not there, and nothing is overwritten."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from luthier.data.sources import read_rows
from luthier.data.write_rows import row_files
from luthier.errors import DataError, InputError

ROWS = [{"a": "é\n"}, {"b": [1, None]}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.json.gz"])
def test_what_is_written_is_read(tmp_path, name):
    with row_files([tmp_path / name]) as (file,):
        for row in ROWS:
            file.write(row)
    assert [row.value for row in read_rows(tmp_path / name)] == ROWS
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_json_is_json(tmp_path):
    with row_files([tmp_path / "a.json", tmp_path / "b.json"]) as (file, _):
        file.write(ROWS[0])
    assert json.loads((tmp_path / "a.json").read_text()) == ROWS[:1]
    assert json.loads((tmp_path / "b.json").read_text()) == []


def test_equal_rows_give_equal_bytes(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        with row_files([tmp_path / folder / "a.jsonl.gz"]) as (file,):
            file.write(ROWS[0])
    written = [(tmp_path / folder / "a.jsonl.gz").read_bytes() for folder in ("x", "y")]
    assert written[0] == written[1]
    assert gzip.decompress(written[0]) == '{"a": "é\\n"}\n'.encode()


def test_after_an_error_nothing_is_there(tmp_path):
    def write() -> None:
        with row_files([tmp_path / "a.jsonl", tmp_path / "b.jsonl"]) as (a, b):
            a.write(ROWS[0])
            b.write({"bytes": b"x"})

    with pytest.raises(DataError, match="cannot be written as JSON"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.csv", "written as .jsonl"),
        ("a.jsonl.zst", "written as .jsonl"),
        ("there.jsonl", "exists"),
        ("x/a.json", "no folder"),
    ],
)
def test_refusals(tmp_path: Path, name, reason):
    (tmp_path / "there.jsonl").write_text("mine")
    with pytest.raises(InputError, match=reason), row_files([tmp_path / name]):
        pass
    assert (tmp_path / "there.jsonl").read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path):
    def write() -> None:
        with row_files([tmp_path / "a.jsonl"]) as (file,):
            file.write(ROWS[0])
            (tmp_path / "a.jsonl").write_text("mine")

    with pytest.raises(InputError, match="exists"):
        write()
    assert (tmp_path / "a.jsonl").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1
