"""Files that no reader can make sense of, through every verb that reads data: an error that names the place, and nothing else.

No traceback, no half-written file, no waiting for a pipe that nobody writes to.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.cli.app import main
from luthier.data import any_rows, sources
from tests.tiny import save_tiny_model

ROWS = [{"question": f"What is {i}?", "answer": f"It is {i}, é."} for i in range(300)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def noise(size: int) -> bytes:
    """JSON lines that do not compress, so that a cut falls into the data."""
    rng = random.Random(0)
    rows = ({"question": f"{rng.random()}?", "answer": f"{rng.random()}"} for _ in range(size // 60))
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table_bytes(kind: str) -> bytes:
    table = pa.Table.from_pylist([{"question": f"{i}?", "answer": str(random.Random(i).random())} for i in range(9000)])
    sink = pa.BufferOutputStream()
    if kind == "parquet":
        pq.write_table(table, sink, row_group_size=1000)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    return sink.getvalue().to_pybytes()


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


PACKED = gzip.compress(noise(200_000))
ZSTD = pa.compress(noise(200_000), codec="zstd", asbytes=True)
SOME = LINES.splitlines(keepends=True)

# name of the file, its content (or what makes it), what the error has to say
BAD: dict[str, tuple[str, bytes | Callable[[Path], object], str]] = {
    "gz cut off": ("in.jsonl.gz", PACKED[: len(PACKED) // 2], "in.jsonl.gz: damaged or cut off gzip data"),
    "gz damaged": ("in.jsonl.gz", flipped(PACKED, len(PACKED) // 2), "in.jsonl.gz"),
    "gz is none": ("in.jsonl.gz", LINES, "in.jsonl.gz: damaged or cut off gzip data"),
    "zst cut off": ("in.jsonl.zst", ZSTD[: len(ZSTD) // 2], "in.jsonl.zst"),
    "zst damaged": ("in.jsonl.zst", flipped(ZSTD, 3), "in.jsonl.zst: damaged or cut off Zstandard data"),
    "zst is none": ("in.jsonl.zst", LINES, "in.jsonl.zst: damaged or cut off Zstandard data"),
    "parquet cut off": ("in.parquet", table_bytes("parquet")[:-200], "in.parquet is not a readable parquet file"),
    "parquet damaged": ("in.parquet", b"PAR1" + os.urandom(300) + b"PAR1", "in.parquet is not a readable parquet file"),
    "arrow cut off": ("in.arrow", table_bytes("arrow")[:-30_000], "in.arrow is not a readable Arrow file (after row"),
    "arrow is none": ("in.arrow", LINES, "in.arrow is not a readable Arrow file"),
    "broken UTF-8": ("in.jsonl", b"".join([*SOME[:40], b'{"question": "\xff"}\n', *SOME[40:]]), "in.jsonl:41: not UTF-8"),
    "NUL bytes": ("in.jsonl", b"".join([*SOME[:7], b"\0\0\0\n"]), "in.jsonl:8: NUL byte"),
    "UTF-16": ("in.jsonl", LINES.decode().encode("utf-16"), "in.jsonl is UTF-16"),
    "half a line": ("in.jsonl", LINES[:-9], "in.jsonl:300: broken JSON"),
    "csv ragged": ("in.csv", b"question,answer\na,b\nc\n", "in.csv:3: 1 cells, the header has 2"),
    "csv quote open": ("in.csv", b'question,answer\na,b\n"c,d\ne,f\n', "in.csv:3: broken csv"),
    "csv semicolons ragged": ("in.csv", b"\xef\xbb\xbfquestion;answer\na;b\nc;d;e\n", "in.csv:3: 3 cells"),
    "one giant object": ("in.json", b'{"a": ' + b'[{"x": 1},' * 20_000 + b"0" + b"]" * 20_000 + b"}", "in.json:1"),
    "an object without rows": ("in.json", b'{"train": {"a": 1}, "test": {"b": 2}}', "in.json:1: one JSON object"),
    "json cut off": ("in.json", json.dumps(ROWS).encode()[:-30], "in.json:1"),
    "empty": ("in.jsonl", b"", "in.jsonl is empty"),
    "blank": ("in.jsonl", b"\n\n\n", "in.jsonl holds no rows"),
    "folder without data": ("in.jsonl", lambda path: path.mkdir(), "holds no file of a kind that can be read"),
    "dangling link": ("in.jsonl", lambda path: path.symlink_to("gone.jsonl"), "is a link to gone.jsonl, which does not exist"),
    "link to itself": ("in.jsonl", lambda path: path.symlink_to(path.name), "in.jsonl"),
    "pipe": ("in.jsonl", os.mkfifo, "in.jsonl is a pipe"),
    "device": ("in.jsonl", lambda path: path.symlink_to("/dev/zero"), "in.jsonl is a device"),
    "missing": ("in.jsonl", lambda _: None, "in.jsonl: no such file"),
    "unfit": ("in.jsonl", b'{"question": 3, "answer": 4}\n' * 9, "in.jsonl:1"),
}  # fmt: skip

READS_THE_BEGINNING = ("show",)
"""Stops behind the rows that it shows: damage behind them is not seen."""
LATE = ("gz damaged", "arrow cut off")


def good(out: Path) -> Path:
    path = out.parent.parent / "good.jsonl"
    path.write_bytes(LINES)
    return path


VERBS: dict[str, Callable[[Path, Path], list[str]]] = {
    "inspect": lambda source, _: ["data", "inspect", str(source)],
    "check": lambda source, _: ["data", "check", str(source)],
    "show": lambda source, out: ["data", "show", str(source), "--model", str(out.parent.parent / "model")],
    "convert": lambda source, out: ["data", "convert", str(source), str(out), "--to", "messages"],
    "split": lambda source, out: ["data", "split", str(source), "--out", str(out)],
    "dedup": lambda source, out: ["data", "dedup", str(source), str(out)],
    "clean": lambda source, out: ["data", "clean", str(source), str(out)],
    "redact": lambda source, out: ["data", "redact", str(source), str(out)],
    "mix": lambda source, out: ["data", "mix", str(out), str(source), str(good(out))],
    "decontaminate": lambda source, out: ["data", "decontaminate", str(source), str(out), "--against", str(good(out))],
    "train": lambda source, out: ["train", str(out.parent.parent / "recipe.yaml"), f"data.train={source}"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    save_tiny_model(folder / "model")
    recipe = f"model: {{name: {folder / 'model'}}}\ndata: {{train: in.jsonl}}\nrun: {{name: bad, folder: {folder / 'runs'}}}\n"
    (folder / "recipe.yaml").write_text(recipe)
    return folder


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", BAD)
def test_an_error_that_names_the_place_and_nothing_else(
    place: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest, verb: str, kind: str
):
    name, content, expected = BAD[kind]
    folder = place / f"{verb} {kind}"
    folder.mkdir()
    source = folder / name
    if isinstance(content, bytes):
        source.write_bytes(content)
    else:
        content(source)
    before = listing(folder)
    code = main(VERBS[verb](source, folder / ("out" if verb == "split" else "out.jsonl")))
    captured = capsys.readouterr()
    said = " ".join((captured.out + captured.err).split())
    if kind == "unfit" and verb in ("check", "inspect"):
        assert code == (1 if verb == "check" else 0)
        assert "9 rows do not fit" in said or "9 of 9 rows do not fit" in said
        assert expected in said.replace(" ", "")
    elif verb in READS_THE_BEGINNING and kind in LATE:
        assert code == 0, said
    else:
        assert code == 2, said
        assert expected.replace(" ", "") in said.replace(" ", ""), said
    assert "Traceback" not in said
    assert listing(folder) == before


@pytest.mark.parametrize("verb", ["convert", "split", "dedup", "clean", "redact", "mix"])
@pytest.mark.parametrize("change", ["grows", "shrinks", "is replaced"])
def test_a_file_that_changes_while_it_is_read_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, change: str
):
    folder = tmp_path / "folder"
    folder.mkdir()
    source = folder / "in.jsonl"
    source.write_bytes(LINES)
    original = sources.read_rows

    def changing(path):
        for number, row in enumerate(original(path)):
            if number == 200:
                if change == "grows":
                    source.open("ab").write(b'{"question": "q", "answer": "a"}\n')
                elif change == "shrinks":
                    os.truncate(source, 1000)
                else:
                    other = tmp_path / "other"
                    other.write_bytes(LINES[:-1] + b" \n")
                    other.replace(source)
            yield row

    monkeypatch.setattr(any_rows, "read_rows", changing)
    code = main(VERBS[verb](source, folder / ("out" if verb == "split" else "out.jsonl")))
    said = " ".join(capsys.readouterr().err.split())
    assert code == 2, said
    assert "in.jsonl" in said
    assert "Traceback" not in said
    assert listing(folder) == ["in.jsonl"]


def test_tables_with_a_mark_semicolons_and_quotes_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = tmp_path / "in.csv"
    source.write_bytes('\ufeffquestion;answer\r\n"a;\r\nb";"say ""hi"""\r\nc;d\r\n'.encode())
    assert main(["data", "convert", str(source), str(tmp_path / "out.jsonl"), "--to", "prompt_completion"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert rows == [{"prompt": "a;\r\nb", "completion": 'say "hi"'}, {"prompt": "c", "completion": "d"}]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
@pytest.mark.parametrize("verb", VERBS)
def test_a_file_that_may_not_be_read(place: Path, capsys: pytest.CaptureFixture[str], verb: str):
    folder = place / f"{verb} unreadable"
    folder.mkdir()
    source = folder / "in.jsonl"
    source.write_bytes(LINES)
    source.chmod(0)
    assert main(VERBS[verb](source, folder / "out.jsonl")) == 2
    assert "cannot be opened: Permission denied" in " ".join(capsys.readouterr().err.split())
