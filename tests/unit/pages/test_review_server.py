"""Who may talk to the server of a review, and how much."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from luthier.errors import ResourceError
from luthier.pages.data_review import ReviewServer
from luthier.pages.data_review import server as module
from luthier.workflows.data_review import data_review


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReviewServer]:
    rows = [{"question": f"<script>alert({i})</script>?", "answer": "yes"} for i in range(3)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    session = data_review([tmp_path / "in.jsonl"], tmp_path / "d.jsonl")
    with ReviewServer(session) as running:
        yield running
    session.close()


def ask(server: ReviewServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if content is not None:
        given.setdefault("Content-Type", "application/json")
    connection.request(method, path, content, given)
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    return answer.status, json.loads(raw) if "json" in answer.headers["Content-Type"] else raw.decode(), answer.headers


def home(server: ReviewServer) -> str:
    return urlsplit(server.url).path


DROP = {"row": 1, "verdict": "drop", "note": "", "edits": []}


def saved(tmp_path: Path) -> int:
    return len((tmp_path / "d.jsonl").read_text().splitlines()) - 1


def test_the_page_and_its_rows_are_for_who_has_the_token(server, tmp_path):
    status, page, headers = ask(server, "GET", home(server))
    assert status == 200
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert "connect-src &#39;self&#39;" in page
    assert "http://" not in page
    assert "https://" not in page
    status, content, _ = ask(server, "GET", f"{home(server)}rows")
    assert status == 200
    assert len(content["rows"]) == 3
    assert ask(server, "POST", f"{home(server)}decide", DROP)[0] == 200
    assert saved(tmp_path) == 1


@pytest.mark.parametrize(
    "path", ["/", "/rows", "/decide", "/x/rows", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/x/é"]
)
def test_without_the_token_there_is_nothing(server, tmp_path, path):
    path = path.encode().decode("latin-1")
    for method, body in (("GET", None), ("POST", DROP)):
        sent = socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port), timeout=10)
        raw = b"" if body is None else json.dumps(body).encode()
        host = urlsplit(server.url).netloc
        head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        sent.sendall(head.encode("latin-1") + raw)
        assert sent.recv(100).startswith(b"HTTP/1.1 404")
        sent.close()
    assert saved(tmp_path) == 0


def test_files_are_out_of_reach_with_the_token_too(server):
    for path in ("d.jsonl", "../d.jsonl", "%2e%2e/in.jsonl", "rows/../decide", "rows?x=/etc/passwd", "//etc/passwd"):
        assert ask(server, "GET", home(server) + path)[0] == 404


def test_another_name_for_this_machine_is_refused(server, tmp_path):
    port = urlsplit(server.url).port
    for host in (f"evil.example:{port}", "evil.example", f"127.0.0.1.evil.example:{port}", "127.0.0.1", "127.0.0.1:1"):
        assert ask(server, "GET", f"{home(server)}rows", Host=host)[0] == 421
        assert ask(server, "POST", f"{home(server)}decide", DROP, Host=host)[0] == 421
    assert ask(server, "GET", f"{home(server)}rows", Host=f"localhost:{port}")[0] == 200
    assert saved(tmp_path) == 0


def test_other_pages_may_not_decide(server, tmp_path):
    for origin in ("https://evil.example", "null", f"http://localhost:{urlsplit(server.url).port}"):
        assert ask(server, "POST", f"{home(server)}decide", DROP, Origin=origin)[0] == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded"):  # what a form can send without being asked first
        assert ask(server, "POST", f"{home(server)}decide", DROP, Content_Type=kind)[0] == 415
    assert saved(tmp_path) == 0
    own = server.url.removesuffix(home(server))
    assert ask(server, "POST", f"{home(server)}decide", DROP, Origin=own)[0] == 200


def test_bodies_have_limits(server, tmp_path, monkeypatch):
    address = f"{home(server)}decide"
    assert ask(server, "POST", address, b"{", Content_Length="1")[0] == 400
    assert ask(server, "POST", address, b"[" * 100_000)[0] == 400
    assert ask(server, "POST", address, {**DROP, "row": 77})[0] == 422
    monkeypatch.setattr(module, "MOST_BODY_BYTES", 1000)
    status, content, _ = ask(server, "POST", address, {**DROP, "note": "x" * 1000})
    assert (status, content["error"]) == (413, "More than 1,000 bytes.")
    for length in ("-1", "x", "1e3"):
        assert ask(server, "POST", address, b"", Content_Length=length)[0] == 411
    assert saved(tmp_path) == 0


def test_it_listens_on_this_machine_alone(server):
    assert server._server.server_address[0] == "127.0.0.1"


def test_ending_and_taken_ports(server, tmp_path):
    assert not server.wait(0)
    assert ask(server, "GET", f"{home(server)}end")[0] == 404
    assert ask(server, "POST", f"{home(server)}end", {})[0] == 200
    assert server.wait(5)
    with pytest.raises(ResourceError, match="--port"):
        ReviewServer(data_review([tmp_path / "in.jsonl"], tmp_path / "d.jsonl"), urlsplit(server.url).port or 0)


def test_what_cannot_be_saved_is_not_said_to_be(server, monkeypatch, tmp_path):
    (tmp_path / "d.jsonl").unlink()
    status, content, _ = ask(server, "POST", f"{home(server)}decide", DROP)
    assert status == 500
    assert "could not be saved" in content["error"]
    assert ask(server, "GET", f"{home(server)}rows")[1]["rows"][0]["decision"]["verdict"] == "undecided"
