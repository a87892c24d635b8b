"""Serves a review to one browser on this machine, and saves what is decided there: of rows, or of answers side by side.

Who may do what: the server listens on 127.0.0.1 alone, and every address begins with a random token that only the person who
started it has; the Host header must be this server's, so that no other name can be pointed at it (DNS rebinding), and what
changes something must come from the page itself (Origin, JSON). There are five addresses, compared as a whole: nothing of
a request ever becomes a path of a file. Bodies are limited, slow senders are cut off.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol, Self

from luthier import __version__
from luthier.errors import InputError, LuthierError, ResourceError
from luthier.pages.page import render_page

HERE = Path(__file__).parent
REPORT = HERE.parent / "report"
MOST_BODY_BYTES = 4 * 1024**2
SLOWEST_SECONDS = 20
ADDRESS = "127.0.0.1"


class Review(Protocol):
    """What the page works on: `data.review.session.ReviewSession`, or another whose page talks to the same addresses."""

    @property
    def title(self) -> str: ...  # noqa: D102

    def content(self) -> dict[str, Any]:
        """All rows and the state."""
        ...

    def decide(self, wish: Any) -> dict[str, Any]:
        """Check and save a decision."""
        ...

    def undo(self) -> dict[str, Any]:
        """Take the last one back."""
        ...

    def summary(self) -> ReviewSummary:
        """What the decisions say."""
        ...


class ReviewSummary(Protocol):
    """What a page shows at the end."""

    def to_json(self) -> dict[str, Any]: ...  # noqa: D102


class ReviewServer:
    """Use it with ``with``; `wait` returns when the reviewer ends the review in the page.

    Args:
        review: What to decide on.
        port: Of 127.0.0.1; 0 for any that is free.
        page: Makes the page from the title; None for that of `luthier data review`.

    Raises:
        ResourceError: The port is taken.
    """

    def __init__(self, review: Review, port: int = 0, page: Callable[[str], str] | None = None) -> None:
        self.token = secrets.token_urlsafe(24)
        try:
            self._server = _Server(review, self.token, port, page or _page)
        except (OSError, OverflowError) as error:
            raise ResourceError(
                f"Port {port} of {ADDRESS} cannot be used: {getattr(error, 'strerror', None) or error}. "
                "Choose another with --port, or leave it away."
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True, name="review server")

    @property
    def url(self) -> str:
        """Where the page is; who knows it may decide."""
        return f"http://{ADDRESS}:{self._server.server_address[1]}/{self.token}/"

    def wait(self, seconds: float | None = None) -> bool:
        """Until the review is ended in the page; returns whether it was."""
        return self._server.ended.wait(seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """What handlers know."""

    daemon_threads = True

    def __init__(self, review: Review, token: str, port: int, page: Callable[[str], str]) -> None:
        self.review, self.token, self.page = review, token, page
        self.ended = threading.Event()
        self.changes: dict[str, Callable[[Any], dict[str, Any]]] = {
            "decide": review.decide,
            "undo": lambda _: review.undo(),
            "end": lambda _: {"summary": review.summary().to_json()},
        }
        super().__init__((ADDRESS, port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "luthier", ""
    timeout = SLOWEST_SECONDS

    def do_GET(self) -> None:
        """The page, or its rows."""
        if not self._is_welcome():
            return
        if self._asks_for(""):
            self._send(HTTPStatus.OK, self.server.page(self.server.review.title).encode(), "text/html; charset=utf-8")
        elif self._asks_for("rows"):
            self._send_json(HTTPStatus.OK, self.server.review.content())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def do_POST(self) -> None:
        """A decision, or one taken back, or the end."""
        if not self._is_welcome():
            return
        change = next((change for name, change in self.server.changes.items() if self._asks_for(name)), None)
        if change is None:
            self._refuse(HTTPStatus.NOT_FOUND, "There is nothing here.")
        elif self.headers.get("Origin") not in (None, f"http://{self.headers['Host']}"):
            self._refuse(HTTPStatus.FORBIDDEN, "Only the page of the review may decide.")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON.")
        elif (body := self._body()) is not None:
            self._change(change, body)
            if self._asks_for("end"):  # not before the page has its answer: the process may end now
                self.server.ended.set()

    def _change(self, change: Callable[[Any], dict[str, Any]], body: bytes) -> None:
        try:
            self._send_json(HTTPStatus.OK, change(json.loads(body)))
        except (ValueError, RecursionError):
            self._refuse(HTTPStatus.BAD_REQUEST, "This is no JSON.")
        except InputError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except (OSError, LuthierError) as error:  # a full disk: the page must not say that it is saved
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"It could not be saved: {error}")

    def _asks_for(self, name: str) -> bool:
        return hmac.compare_digest(self.path.encode(), f"/{self.server.token}/{name}".encode())

    def _is_welcome(self) -> bool:
        port = self.server.server_port
        if self.headers.get("Host") in (f"{ADDRESS}:{port}", f"localhost:{port}"):
            return True
        self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "This server has another name.")
        return False

    def _body(self) -> bytes | None:
        """The body; None where it was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "Say how long it is.")
        elif int(length) > MOST_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"More than {MOST_BODY_BYTES:,} bytes.")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True
        return None

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # a body that was not read must not be taken for the next request
        self._send_json(status, {"error": reason})

    def _send_json(self, status: HTTPStatus, content: Any) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Resource-Policy": "same-origin",
            **({"Connection": "close"} if self.close_connection else {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the command, and addresses hold the token."""


def _page(title: str) -> str:
    return render_page(
        "data_review.html.j2",
        {"title": title, "version": __version__},
        folders=[HERE],
        styles=[REPORT / "report.css", HERE / "data_review.css"],
        script=HERE / "data_review.js",
        talks_to_server=True,
    )
