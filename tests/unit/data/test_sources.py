"""Reading files: what is tolerated, and the place and reason of everything that is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.data import sources
from luthier.data.sources import hash_source, read_rows, register_generated
from luthier.errors import DataError


@pytest.fixture
def write(tmp_path: Path):
    def _write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return _write


def values_and_lines(path: Path | str) -> list[tuple[dict, int]]:
    return [(row.value, row.source.line) for row in read_rows(path)]


def error_of(path: Path | str) -> str:
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    return str(caught.value)


def test_jsonl_with_byte_order_mark_crlf_and_blank_lines(write):
    path = write("a.jsonl", '\ufeff{"a": 1}\r\n\r\n   \r\n{"a": "é"}')
    assert values_and_lines(path) == [({"a": 1}, 1), ({"a": "é"}, 4)]


def test_json_list_keeps_the_line_of_each_row(write):
    rows = [{"a": 1, "b": ["x", "y"]}, {"a": "two\nlines"}, {"a": 3}]
    path = write("a.json", "\n" + json.dumps(rows, indent=2))
    # line 1 blank, 2 "[", 3 "{" of the first row, which has 7 lines; the second has 3
    assert values_and_lines(path) == [(rows[0], 3), (rows[1], 10), (rows[2], 13)]


@pytest.mark.parametrize("indent", [None, 1])
def test_json_under_the_key_data(write, indent):
    path = write("a.json", json.dumps({"version": [1, {"data": []}], "data": [{"a": 1}, {"a": 2}]}, indent=indent))
    assert [row.value for row in read_rows(path)] == [{"a": 1}, {"a": 2}]


def test_json_file_with_one_object_per_line(write):
    assert values_and_lines(write("a.json", '{"a": 1}\n{"a": 2}\n')) == [({"a": 1}, 1), ({"a": 2}, 2)]


def test_csv_with_quotes_line_breaks_and_blank_lines(write):
    path = write("a.csv", '\ufeffprompt,completion\r\n"a, ""b""\nc",d\r\n\r\ne,\r\n')
    assert values_and_lines(path) == [
        ({"prompt": 'a, "b"\nc', "completion": "d"}, 2),
        ({"prompt": "e", "completion": ""}, 5),
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ";"), ("a.csv", "|"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_table_delimiter_comes_from_the_header(write, name, delimiter):
    path = write(name, f"prompt{delimiter}completion\n1, 2{delimiter}3\n")
    assert values_and_lines(path) == [({"prompt": "1, 2", "completion": "3"}, 2)]


def test_csv_cell_longer_than_the_csv_modules_limit(write):
    path = write("a.csv", "text\n" + "x" * 200_000 + "\n")
    assert len(next(read_rows(path)).value["text"]) == 200_000


def test_parquet(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "é"}]}, {"messages": []}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert values_and_lines(tmp_path / "a.parquet") == [(rows[0], 1), (rows[1], 2)]


@pytest.mark.parametrize("suffix", ["txt", "md", "TXT"])
def test_text_file_is_one_document(write, suffix):
    assert values_and_lines(write(f"a.{suffix}", "one\n\ntwo\n")) == [({"text": "one\n\ntwo\n"}, 1)]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '{"a": 1}\n{"a" 1}\n', ["a.jsonl:2:", "column 6", '{"a" 1}']),
        ("a.jsonl", '{"a": 1}\n\n[1]\n', ["a.jsonl:3:", "a list", "[1]"]),
        ("a.jsonl", "[\n  {}\n]\n", ["a.jsonl:1:", ".json"]),
        ("a.jsonl", b'{"a": "x"}\n{"a": "\xff"}\n', ["a.jsonl:2:", "UTF-8", "byte 8"]),
        ("a.jsonl", b'{"a": "x"}\n{"a"\0: 1}\n', ["a.jsonl:2:", "NUL", "byte 5"]),
        ("a.jsonl", '{"a": "\\ud83d"}\n', ["a.jsonl:1:", "surrogate"]),
        ("a.jsonl", "[" * 100_000, ["a.jsonl:1:", "broken JSON"]),
        ("a.jsonl", "\ufeff".encode("utf-16"), ["UTF-16"]),
        ("a.jsonl", "", ["empty"]),
        ("a.jsonl", "\n \n", ["no rows"]),
        ("a.json", "[]", ["no rows"]),
        ("a.json", '[\n {"a": 1},\n {"a" 2}\n]', ["a.json:3:", "column 7", '{"a" 2}']),
        ("a.json", '[\n {"a": 1},\n "x"\n]', ["a.json:3:", "object", "'\"x\"'"]),
        ("a.json", '[\n {"a": 1}\n', ["a.json:3:", "cut off"]),
        ("a.json", '[\n {"a": 1},\n]', ["a.json:3:", "comma"]),
        ("a.json", '[{"a": 1}]\n[]', ["a.json:2:", "more text"]),
        ("a.json", '{"examples": [], "x": 1}', ["examples, x", '{"data": [...]}', "Lists are under: examples"]),
        ("a.json", "3", ["a number"]),
        ("a.csv", "a,b\n1,2\n\n1,2,3\n", ["a.csv:4:", "3 cells", "header has 2 (a, b)"]),
        ("a.csv", "a,b\n1\n", ["a.csv:2:", "1 cells"]),
        ("a.csv", 'a,b\n1,2\n"open,3\n4,5\n', ["a.csv:3:", "broken csv"]),
        ("a.csv", "a,a\n1,2\n", ["a.csv:1:", "twice", "'a'"]),
        ("a.csv", "a,b\n", ["no rows"]),
        ("a.csv", b"a,b\n1,\xe9\n", ["a.csv:2:", "UTF-8"]),
        ("a.parquet", b"PAR1 this is none", ["not a readable parquet file"]),
        ("a.xlsx", "x", ["'.xlsx'", ".jsonl", ".parquet"]),
        ("noending", "x", ["without a suffix"]),
    ],
)
def test_broken_files_say_where_and_what(write, name, content, expected):
    message = error_of(write(name, content))
    for part in expected:
        assert part in message, message


def test_missing_file_names_similar_ones(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"a": 1}')
    (tmp_path / "unrelated.bin").write_text("")
    message = error_of(tmp_path / "trian.jsonl")
    assert "no such file" in message
    assert "train.jsonl" in message
    assert "unrelated" not in message


def test_missing_folder_is_said(tmp_path):
    assert "folder" in error_of(tmp_path / "nowhere" / "a.jsonl")


def test_folder_says_which_files_are_inside(tmp_path):
    (tmp_path / "b.jsonl").write_text("{}")
    (tmp_path / "image.png").write_text("")
    message = error_of(tmp_path)
    assert "is a folder" in message
    assert "b.jsonl" in message
    assert "image.png" not in message


def test_generated_rows(monkeypatch):
    monkeypatch.setattr(sources, "GENERATED", dict(sources.GENERATED))

    def rows() -> Iterator[dict]:
        yield {"prompt": "a", "completion": "b"}
        yield {"prompt": "c", "completion": "d"}

    register_generated("demo:two", rows)
    found = list(read_rows("demo:two"))
    assert [row.value["prompt"] for row in found] == ["a", "c"]
    assert str(found[1].source) == "demo:two:2"
    assert hash_source("demo:two") == hash_source("demo:two")
    message = error_of("demo:nothing")
    assert "demo:two" in message


def test_hash_is_the_files_sha256(write):
    # echo -n abc | sha256sum
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_source(write("a.txt", "abc")) == expected
