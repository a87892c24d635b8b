"""What is looked at before anything else of a request: where it claims to go, where it comes from, who sends it.

On a loopback address only that address's own names are answered (another name that was pointed here is DNS rebinding), and a
page of another origin may not ask: its requests carry an Origin, and JSON makes the browser ask first, which is never
answered. Every answer says that nothing of it may be framed, cached or guessed at.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from luthier.serve.keys import Keys
from luthier.serve.metrics import Metrics
from luthier.serve.refusal import RefusedError

_LOG = logging.getLogger("luthier.serve")
OPEN_PATHS = ("/", "/health")
"""What needs no key: the page, which asks for one itself, and whether the server lives."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Around the application.

    Args:
        app: What answers.
        keys: Who may ask.
        hosts: Values of the Host header that are answered; None for all.
        metrics: Told of every end.
        routes: Paths that are counted by name.
    """

    def __init__(
        self, app: ASGIApp, keys: Keys, hosts: Collection[str] | None, metrics: Metrics, routes: Collection[str]
    ) -> None:
        self._app, self._keys, self._hosts, self._metrics, self._routes = app, keys, hosts, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        path, status = scope["path"], 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            try:
                self._check(scope)
                await self._app(scope, receive, send_noting)
            except RefusedError as error:
                await refuse(error)(scope, receive, send_noting)
            except Exception as error:
                _LOG.error("%s %s failed:\n%s", scope["method"], path, "".join(traceback.format_exception(error)))
                if status:
                    raise
                failed = RefusedError(500, "The server failed; its log says why.")
                await refuse(failed)(scope, receive, send_noting)
        finally:
            self._metrics.request(path if path in self._routes else "other", status or 499)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._hosts is not None and host.lower() not in self._hosts:
            raise RefusedError(421, "This server has another name.", headers={"Connection": "close"})
        if "origin" in headers and headers["origin"] not in (f"http://{host}", f"https://{host}"):
            raise RefusedError(403, "Pages of another origin may not ask this server.")
        if scope["path"] not in OPEN_PATHS and not self._keys.admit(headers.get("authorization")):
            raise RefusedError(401, "The key is missing or wrong. Send it as: Authorization: Bearer KEY", code="invalid_api_key",
                               headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            raise RefusedError(
                415, f"The body is {kind or 'of no kind'}; send JSON with Content-Type: application/json."
            )


def refuse(error: RefusedError) -> JSONResponse:
    """The answer to what is refused. The connection ends: a body that was not read is no next request."""
    content: Any = error.to_json()
    return JSONResponse(content, error.status, {**error.headers, "Connection": "close"})
