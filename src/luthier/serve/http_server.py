"""The socket, and the life of the server on it: bound before a model is loaded, closed gently on SIGTERM.

uvicorn speaks HTTP. Added here: who does not send the head of a request in time is cut off, and a signal ends the server as
one that was asked for (what is running is finished; a second signal ends at once).
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from luthier.errors import ResourceError
from luthier.serve.limits import Limits

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_IDLE_SECONDS = 15
_MOST_HEAD_BYTES = 32 * 1024


def bind(host: str, port: int) -> socket.socket:
    """Take an address. Nothing is accepted before the server runs.

    Raises:
        ResourceError: It is in use, not of this machine, or not to be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ResourceError(f"There is no address '{host}' on this machine: {error}") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as error:
        found.close()
        why = getattr(error, "strerror", None) or error
        raise ResourceError(
            f"Port {port} of {host} cannot be used: {why}. Choose another with --port, or end what uses it."
        ) from error
    return found


def own_names(host: str, port: int) -> frozenset[str] | None:
    """Values of the Host header that a server on a loopback address answers; None where it is reached from elsewhere."""
    if host not in LOOPBACK:
        return None
    names = ("127.0.0.1", "localhost", "[::1]")
    return frozenset(f"{name}:{port}" for name in names) | (frozenset(names) if port == 80 else frozenset())


class HttpServer(uvicorn.Server):
    """Serves an application on a socket until it is told to end.

    Args:
        app: What answers.
        listener: From `bind`.
        limits: Times and numbers of connections.
        on_ready: Called when requests are accepted.
    """

    def __init__(
        self, app: ASGIApp, listener: socket.socket, limits: Limits, on_ready: Callable[[], None] | None = None
    ) -> None:
        self._listener, self._on_ready = listener, on_ready
        protocol = type("TimedProtocol", (_TimedProtocol,), {"head_seconds": limits.head_seconds})
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=limits.connections,
                timeout_keep_alive=_IDLE_SECONDS,
                timeout_graceful_shutdown=round(limits.drain_seconds),
                h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
            )
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.getsockname()[1]

    def run_until_told(self) -> None:
        """Serve; returns after SIGTERM or SIGINT, or when `should_exit` was set, and what was running has ended."""
        asyncio.run(self.serve([self._listener]))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept requests."""
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        """Like uvicorn's, but an end that was asked for is a good end: the signal is not raised again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.force_exit = self.should_exit
        self.should_exit = True


class _TimedProtocol(H11Protocol):
    """Closes a connection on which a request's head does not arrive."""

    head_seconds = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._deadline is None:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _begin(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
