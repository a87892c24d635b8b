"""Data of the hub, against a small hub on this machine: searched, fetched, and used again without it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luthier.config.load import load_recipe
from luthier.data import hub
from luthier.data.find_files import find_files
from luthier.data.hub import read_hub_name
from luthier.data.hub_search import layout_of
from luthier.data.sources import read_rows
from luthier.errors import DataError
from luthier.workflows.check_recipe import require_inputs

COMMIT = "a" * 40
FILES = {
    "default/train/0000.parquet": [{"question": f"How much is {i}?", "answer": f"{i}, of course."} for i in range(3)],
    "default/train/0001.parquet": [{"question": "And then?", "answer": "Nothing."}],
    "default/test/0000.parquet": [{"question": "Test?", "answer": "Yes."}],
    "big/partial-train/0000.parquet": [{"question": "Part?", "answer": "Yes."}],
}
CARD = {
    "license": "mit",
    "dataset_info": {
        "features": [{"name": "question", "dtype": "string"}, {"name": "answer", "dtype": "string"}],
        "splits": [{"name": "train", "num_examples": 4}, {"name": "test", "num_examples": 1}],
        "download_size": 2048,
    },
}
LISTED = [
    {"id": "some/sums", "downloads": 12345, "tags": ["license:mit"], "cardData": CARD, "gated": False},
    {"id": "other/bare", "downloads": 7, "tags": ["size_categories:10K<n<100K"], "gated": "auto"},
]


def parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


class SmallHub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        if path == "/api/datasets":
            assert parse_qs(parts.query)["search"]
            found = [d for d in LISTED if parse_qs(parts.query)["search"][0] in d["id"]]
            self.answer(json.dumps(found).encode())
        elif path == "/api/datasets/some/sums/tree/refs/convert/parquet":
            self.answer(json.dumps([{"type": "file", "path": p, "size": 1, "oid": "0"} for p in FILES]).encode())
        elif path.startswith("/api/datasets/none/converted/"):
            self.answer(b"{}", 404, **{"X-Error-Code": "RevisionNotFound"})
        elif path.startswith("/api/datasets/closed/gate/"):
            self.answer(b"{}", 403, **{"X-Error-Code": "GatedRepo"})
        elif path.startswith("/datasets/some/sums/resolve/refs/convert/parquet/"):
            content = parquet(FILES[path.split("/parquet/", 1)[1]])
            etag = hashlib.sha256(content).hexdigest()
            self.answer(content, **{"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        elif path.startswith("/api/"):
            self.answer(b"{}", 404, **{"X-Error-Code": "RepoNotFound"})
        else:
            self.answer(b"hub")

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def small_hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SmallHub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def luthier(home: Path, endpoint: str, *arguments: str) -> tuple[int, dict[str, Any]]:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-m", "luthier", "data", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **settings},
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_search_says_what_the_cards_say(small_hub, tmp_path):
    code, content = luthier(tmp_path, small_hub, "find", "some")
    assert code == 0
    (found,) = content["datasets"]
    assert found["name"] == "some/sums"
    assert (found["downloads"], found["licence"], found["num_rows"], found["num_bytes"]) == (12345, "mit", 5, 2048)
    assert (found["columns"], found["layout"], found["is_gated"]) == (["question", "answer"], "question_answer", False)
    _, content = luthier(tmp_path, small_hub, "find", "other")
    (bare,) = content["datasets"]
    assert (bare["licence"], bare["num_rows"], bare["size_class"]) == ("", None, "10K<n<100K")
    assert (bare["columns"], bare["layout"], bare["is_gated"]) == ([], "", True)


@pytest.mark.slow
def test_a_name_is_fetched_and_used_again_without_the_hub(small_hub, tmp_path):
    arguments = ("dedup", "hub:some/sums", str(tmp_path / "out.jsonl"))
    code, content = luthier(tmp_path, small_hub, *arguments)
    assert code == 0, content
    assert content["num_kept"] == 4
    (tmp_path / "out.jsonl").unlink()
    (tmp_path / "out.dropped.jsonl").unlink()
    nowhere = "http://127.0.0.1:9"
    code, content = luthier(tmp_path, nowhere, *arguments)
    assert code == 0, content
    assert content["num_kept"] == 4
    code, content = luthier(tmp_path, nowhere, "dedup", "hub:some/sums/default/test", str(tmp_path / "t.jsonl"))
    assert code == 2
    message = content["error"]["message"]
    assert "there is no split 'test'" in message
    assert "Only a part of it is on this machine" in message
    assert "cannot be reached" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hub:some/sums/default/tset", "no split 'tset'; did you mean 'test'?"),
        ("hub:some/sums/bgi", "no configuration 'bgi'; did you mean 'big'?"),
        ("hub:some/sums/big", "only the beginning of 'train'. To use that: hub:some/sums/big/partial-train"),
        ("hub:none/converted", "hf download none/converted --repo-type dataset"),
        ("hub:closed/gate", "asks for an agreement"),
        ("hub:no/such", "has no data set 'no/such'"),
    ],
)
def test_what_is_not_there_is_said(small_hub, tmp_path, name, expected):
    code, content = luthier(tmp_path, small_hub, "inspect", name)
    assert code == 2
    assert expected in content["error"]["message"]


def test_without_a_hub_it_is_said_at_once_what_to_do(tmp_path):
    began = time.monotonic()
    code, content = luthier(tmp_path, "http://127.0.0.1:9", "find", "sql")
    assert code == 2
    assert "cannot be reached" in content["error"]["message"]
    assert "luthier data inspect FILE" in content["error"]["message"]
    assert time.monotonic() - began < 10


def test_a_hub_that_never_answers_is_waited_for_a_moment_only(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_knock", lambda *_: time.sleep(30))
    began = time.monotonic()
    reason = hub.why_unreachable(0.1)
    assert reason is not None
    assert "did not answer" in reason
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("name", ["hub:", "hub:sums", "hub:a/b/c/d/e", "hub:a/../b", "hub:a b/c", "hub:/etc/passwd"])
def test_what_is_no_name(name):
    with pytest.raises(DataError, match="names no data set of the hub"):
        read_hub_name(name)


def test_names_without_hub_are_paths_and_the_other_way_to_write_them_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_files(["some/sums"]) == ("some/sums",)
    with pytest.raises(DataError, match="is written hub:some/sums"):
        read_rows("some/sums")


def test_checking_a_recipe_fetches_nothing(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: {name: a/b}\ndata: {train: hub:some/sums}\nrun: {name: r}\n")
    loaded = load_recipe(recipe)
    assert loaded.recipe.data.train == ("hub:some/sums",)
    require_inputs(loaded)  # the network is blocked in tests: reaching for the hub would be an error


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["prompt", "chosen", "rejected"], "preference"),
        (["messages", "id"], "messages"),
        (["conversations"], "sharegpt"),
        (["instruction", "input", "output"], "alpaca"),
        (["prompt", "completion", "label"], "kto"),
        (["text", "label"], "classification"),
        (["text"], "text"),
        (["image", "caption"], ""),
        ([], ""),
    ],
)
def test_layouts_by_columns(columns, expected):
    assert layout_of(columns) == expected
