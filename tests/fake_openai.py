"""A small OpenAI-compatible server on this machine, with the moods of real ones."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Reply = Callable[["Asked"], "Mood"]


class Asked(NamedTuple):
    """A question as it came.

    Attributes:
        number: Counted from 1.
        body: The payload.
        headers: As they were sent.
    """

    number: int
    body: dict[str, Any]
    headers: Any

    @property
    def said(self) -> str:
        """The last message."""
        return self.body["messages"][-1]["content"]


class Mood(NamedTuple):
    """How it answers.

    Attributes:
        text: Of the answer; of an error where the status is not 200.
        status: HTTP's.
        headers: To send.
        hang_seconds: To wait before.
        raw: Sent in the place of JSON.
        trickle: Whether to send a byte now and then.
        cut: Whether to say that the limit ended it, and for a broken connection: how many bytes too few.
    """

    text: str = ""
    status: int = 200
    headers: dict[str, str] | None = None
    hang_seconds: float = 0.0
    raw: bytes | None = None
    trickle: bool = False
    finish_reason: str = "stop"
    missing_bytes: int = 0


class FakeOpenAI:
    """Attributes: `url` to give to a client; `asked`, all questions; `answered`, how often each was answered in full."""

    def __init__(self, reply: Reply) -> None:
        self.asked: list[Asked] = []
        self.answered: Counter[str] = Counter()
        self._reply = reply
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeOpenAI


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.fake._lock:
            asked = Asked(len(self.server.fake.asked) + 1, body, self.headers)
            self.server.fake.asked.append(asked)
        if self.path != "/v1/chat/completions":
            self._send(404, b'{"error": {"message": "no such path"}}', {})
            return
        mood = self.server.fake._reply(asked)
        time.sleep(mood.hang_seconds)
        self._answer(asked, mood)

    def _answer(self, asked: Asked, mood: Mood) -> None:
        if mood.status != 200:
            content = json.dumps({"error": {"message": mood.text}}).encode()
        else:
            choice = {
                "message": {"role": "assistant", "content": mood.text},
                "finish_reason": mood.finish_reason,
            }
            usage = {"prompt_tokens": 10, "completion_tokens": 5}
            content = json.dumps({"model": "fake-1", "choices": [choice], "usage": usage}).encode()
        content = content if mood.raw is None else mood.raw
        try:
            self._send(mood.status, content, mood.headers or {}, mood)
        except OSError:  # the client has gone
            return
        if mood.status == 200 and not mood.missing_bytes:
            self.server.fake.answered[json.dumps(asked.body, sort_keys=True)] += 1

    def _send(self, status: int, content: bytes, headers: dict[str, str], mood: Mood | None = None) -> None:
        mood = mood or Mood()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if mood.missing_bytes:
            self.wfile.write(content[: -mood.missing_bytes])
            self.close_connection = True
        elif mood.trickle:
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)
        else:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def fake_openai(reply: Reply) -> Iterator[FakeOpenAI]:
    """A server that answers as `reply` says."""
    server = FakeOpenAI(reply)
    server.start()
    try:
        yield server
    finally:
        server.close()
