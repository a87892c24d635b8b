"""Serve runs over HTTP until told to end. Prints nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from luthier.errors import InputError, MissingExtraError
from luthier.reporter import Reporter, Silent
from luthier.serve.keys import KEY_VARIABLE, read_keys
from luthier.serve.limits import Limits

if TYPE_CHECKING:
    from luthier.serve.engine import ServingEngine

DEFAULT_PORT = 8000
DEFAULT_CACHE_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class ServeWish:
    """What is served, where and to whom.

    Attributes:
        runs: Names or paths; the first decides the base.
        base: A model without runs, or the one that they must have.
        host: Address to listen on; other than loopback only with keys.
        port: 0 for any that is free.
        key_file: One key a line; more may stand in the environment (`serve.keys`).
        runs_folder: Where runs are looked up, also those that are loaded later.
        limits: What is taken at most.
        cache_bytes: Keys and values of all answers in progress.
        device: Where the model goes; None for the first run's choice.
    """

    runs: tuple[str, ...] = ()
    base: str | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    key_file: Path | None = None
    runs_folder: Path = Path("runs")
    limits: Limits = field(default_factory=Limits)
    cache_bytes: int = DEFAULT_CACHE_BYTES
    device: str | None = None


@dataclass(frozen=True)
class ServeResult:
    """What was served, after the end."""

    address: str
    models: tuple[str, ...]
    num_requests: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "address": self.address,
            "models": list(self.models),
            "num_requests": self.num_requests,
            "seconds": round(self.seconds, 3),
        }


def serve(
    wish: ServeWish, reporter: Reporter | None = None, on_server: Callable[[Any], None] | None = None
) -> ServeResult:
    """Serve; returns when SIGTERM or Ctrl-C came and what was running has been finished.

    Args:
        wish: What and where.
        reporter: Told of loading, and of the address once requests are accepted.
        on_server: Given the `HttpServer` before it runs; setting its `should_exit` ends it like a signal.

    Raises:
        InputError: What is named does not go together, or the address could be reached by anybody without a key.
        ResourceError: The port is taken; known before a model is loaded.
        MissingExtraError: The packages of the extra [serve] are not installed.
    """
    try:
        from luthier.pages.chat import chat_page
        from luthier.serve.app import Api
        from luthier.serve.http_server import LOOPBACK, HttpServer, bind, own_names
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "h11"):
            raise
        raise MissingExtraError(error.name, "serve", "luthier serve") from error
    from luthier.serve.served import ServedModels
    from luthier.workflows.load_served import load_served

    reporter = reporter or Silent()
    keys = read_keys(wish.key_file)
    if wish.host not in LOOPBACK and not keys:
        raise InputError(
            f"{wish.host} can be reached from other machines, and no key is set: anybody could use the model. Put keys into a "
            f"file (--api-key-file) or into {KEY_VARIABLE}, or listen on 127.0.0.1."
        )
    with bind(wish.host, wish.port) as listener:
        port = listener.getsockname()[1]
        address = f"http://{f'[{wish.host}]' if ':' in wish.host else wish.host}:{port}"
        loaded = load_served(wish.runs, wish.base, runs_folder=wish.runs_folder, device=wish.device, reporter=reporter)
        limits = wish.limits
        engine = _engine(loaded.model, wish, reporter)
        served = ServedModels()
        for model in loaded.served:
            served.add(model)
        hosts = own_names(wish.host, port)
        api = Api(engine, served, loaded.adapters, limits=limits, keys=keys, hosts=hosts, page=chat_page())

        def tell() -> None:
            reporter.stage(f"Serving at {address}/v1")
            reporter.say(f"Models: {', '.join(model.name for model in loaded.served)}. A page to chat: {address}/")
            needed = f"{len(keys)} keys are let in." if keys else "No key is needed on this machine."
            reporter.say(f"{needed} End with Ctrl-C: what is running is finished.")

        server = HttpServer(api.asgi, listener, limits, tell)
        if on_server is not None:
            on_server(server)
        began = time.monotonic()
        engine.start()
        try:
            server.run_until_told()
        finally:
            engine.stop()
            api.close()
    names = tuple(model.name for model in served.all())
    return ServeResult(f"{address}/v1", names, api.metrics.num_requests, time.monotonic() - began)


def _engine(model: Any, wish: ServeWish, reporter: Reporter) -> ServingEngine:
    from luthier.serve.engine import ServingEngine

    limits = wish.limits
    engine = ServingEngine(
        model,
        slots=limits.slots,
        capacity_tokens=limits.prompt_tokens + limits.output_tokens,
        waiting=limits.waiting,
        max_cache_bytes=wish.cache_bytes,
    )
    if engine.num_slots < limits.slots:
        reporter.say(
            f"{engine.num_slots} answers at once, not {limits.slots}: keys and values of more would not fit. "
            "Raise --cache-gib, or lower --max-prompt-tokens.",
            "warning",
        )
    return engine
