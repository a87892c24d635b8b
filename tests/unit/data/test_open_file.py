"""Compressed files, long lines and broken bytes: what is read, and how far a damaged file got."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pytest

from luthier.data import open_file, read_json
from luthier.data.open_file import kind_of_file, read_text_chunks
from luthier.data.sources import hash_source, read_rows
from luthier.errors import DataError

ROWS = [{"text": f"row {i} é"} for i in range(500)]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jsonl", ".jsonl"), ("a.JSONL.GZ", ".jsonl"), ("a.b.csv.zst", ".csv"), ("a.gz", ""), ("a", "")],
)
def test_the_kind_is_that_of_the_file_inside(name, kind):
    assert kind_of_file(Path(name)) == kind


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", JSONL),
        ("a.json", json.dumps(ROWS).encode()),
        ("a.csv", ("text\n" + "".join(row["text"] + "\n" for row in ROWS)).encode()),
        ("a.tsv", ("text\n" + "".join(row["text"] + "\n" for row in ROWS)).encode()),
    ],
)
def test_compressed_files_give_the_same_rows_and_lines(tmp_path, name, content, suffix):
    packed = gzip.compress(content) if suffix == "gz" else pa.compress(content, codec="zstd", asbytes=True)
    plain = list(read_rows(write(tmp_path, name, content)))
    read = list(read_rows(write(tmp_path, f"{name}.{suffix}", packed)))
    assert [row.value for row in read] == ROWS
    assert [row.source.line for row in read] == [row.source.line for row in plain]


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd program is not installed")
def test_what_the_zstd_program_wrote(tmp_path):
    path = write(tmp_path, "a.jsonl", JSONL)
    subprocess.run(["zstd", "-q", str(path)], check=True)
    assert [row.value for row in read_rows(tmp_path / "a.jsonl.zst")] == ROWS


def test_the_hash_of_a_compressed_file_is_that_of_its_own_bytes(tmp_path):
    packed = gzip.compress(JSONL)
    import hashlib

    assert hash_source(write(tmp_path, "a.jsonl.gz", packed)) == hashlib.sha256(packed).hexdigest()


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_cut_off_file_names_itself_and_how_far_it_got(tmp_path, suffix):
    import random

    rng = random.Random(0)
    content = "".join(json.dumps({"text": f"{rng.getrandbits(800):0200x}"}) + "\n" for _ in range(5000)).encode()
    packed = gzip.compress(content) if suffix == "gz" else pa.compress(content, codec="zstd", asbytes=True)
    message = error_of(write(tmp_path, f"a.jsonl.{suffix}", packed[: len(packed) * 3 // 4]))
    assert f"a.jsonl.{suffix}: damaged or cut off" in message
    lines = int(message.split(" lines)")[0].rsplit("(", 1)[1])
    assert 0 < lines < 5000
    assert "could be read before" in message


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_what_is_not_compressed_at_all_is_said(tmp_path, suffix):
    assert "nothing of it could be read" in error_of(write(tmp_path, f"a.jsonl.{suffix}", JSONL))


def test_a_flipped_bit_in_gzip_is_damage_not_data(tmp_path):
    packed = bytearray(gzip.compress(JSONL))
    packed[-6] ^= 1  # in the checksum
    assert "damaged" in error_of(write(tmp_path, "a.jsonl.gz", bytes(packed)))


def test_parquet_in_gzip_is_refused_with_what_to_do(tmp_path):
    assert "unpack" in error_of(write(tmp_path, "a.parquet.gz", gzip.compress(b"x")))


@pytest.mark.parametrize("compression", ["uncompressed", "lz4"])
@pytest.mark.parametrize("name", ["a.feather", "a.arrow"])
def test_feather(tmp_path, name, compression):
    feather.write_feather(pa.Table.from_pylist(ROWS), str(tmp_path / name), compression=compression)
    read = list(read_rows(tmp_path / name))
    assert [row.value for row in read] == ROWS
    assert read[-1].source.line == len(ROWS)


def test_the_stream_that_datasets_writes(tmp_path):
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    assert [row.value for row in read_rows(tmp_path / "a.arrow")] == ROWS
    content = (tmp_path / "a.arrow").read_bytes()
    message = error_of(write(tmp_path, "cut.arrow", content[: len(content) // 2]))
    assert "not a readable Arrow file (after row " in message


def test_a_line_that_is_too_long_is_refused_by_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(open_file, "MOST_ROW_BYTES", 1000)
    path = write(tmp_path, "a.jsonl", b'{"a": 1}\n{"text": "' + b"x" * 1000 + b'"}\n')
    message = error_of(path)
    assert "a.jsonl:2: the line is longer than 1000 B" in message
    assert len(message) < 400


def test_a_value_that_is_too_long_is_refused_by_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(open_file, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(read_json, "MOST_ROW_BYTES", 1000)
    path = write(tmp_path, "a.json", b'[\n{"a": 1},\n {"text": "' + b"x" * 5000 + b'"}]')
    rows = read_rows(path)
    assert next(rows).value == {"a": 1}
    with pytest.raises(DataError) as caught:
        next(rows)
    assert "a.json:3: the JSON value that begins at column 2 is longer than 1000 B" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_one_giant_object_is_an_error_that_stays_short(tmp_path):
    path = write(tmp_path, "a.json", json.dumps({f"key{i}": "x" * 50 for i in range(50_000)}).encode())
    message = error_of(path)
    assert "one JSON object with the keys key0, key1, key2, key3, key4; expected a list of objects" in message
    assert len(message) < 400


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("indent", [None, 2])
def test_documents_do_not_depend_on_where_chunks_end(tmp_path, monkeypatch, chunk, indent):
    rows = [{"a": "é\n☃", "n": [1.5e3, -2, None, True], "o": {"x": []}}, {}, {"b": 'q"[{'}]
    text = json.dumps({"v": 12, "list": [[1], 2], "data": rows}, indent=indent, ensure_ascii=False)
    monkeypatch.setattr(open_file, "_CHUNK_BYTES", chunk)
    read = list(read_rows(write(tmp_path, "a.json", text.encode())))
    assert [row.value for row in read] == rows
    if indent:
        lines = text.splitlines()
        assert lines[read[2].source.line - 1 + 1].strip().startswith('"b"')


@pytest.mark.parametrize("chunk", [1, 2, 5, 1000])
def test_broken_bytes_in_a_document_have_their_place(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(open_file, "_CHUNK_BYTES", chunk)
    bad = write(tmp_path, "a.json", '[{"a": "é"},\n{"a": "é'.encode() + b'\xff"}]')
    with pytest.raises(DataError, match=r"a\.json:2: not UTF-8 at byte 10 of the line \(bytes ff"):
        list(read_text_chunks(bad))
    nul = write(tmp_path, "b.json", '[{"a": "é"},\n{"a": "é'.encode() + b'\0"}]')
    with pytest.raises(DataError, match=r"b\.json:2: NUL byte at byte 10 of the line"):
        list(read_text_chunks(nul))
