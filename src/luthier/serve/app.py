"""The addresses of the server, and what each does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from luthier.errors import InputError, LuthierError
from luthier.serve.answering import Answering, chat_requests, completion_requests
from luthier.serve.engine import ServingEngine
from luthier.serve.fields import Fields, parse_object
from luthier.serve.guard import Guard, refuse
from luthier.serve.keys import Keys
from luthier.serve.limits import Limits
from luthier.serve.metrics import KIND, Metrics
from luthier.serve.read_request import ChatWish, CompletionWish, read_chat, read_completion
from luthier.serve.refusal import RefusedError, bad
from luthier.serve.replies import ChatReplies, CompletionReplies
from luthier.serve.served import ServedModel, ServedModels
from luthier.serve.tool_calls import read_calls

DISCARDED_BODIES = 16
"""A body of up to so many times the limit is read to its end and thrown away: who is still sending does not read the refusal."""


class Adapters(Protocol):
    """Runs whose adapters can be put on the model while it serves."""

    def names(self) -> list[str]:
        """All that there are, served or not."""
        ...

    def open(self, name: str) -> tuple[ServedModel, Callable[[Any], Any]]:
        """How a run is asked, and what puts its adapter on the model (for `ServingEngine.change`).

        Raises:
            RefusedError: There is no such run (404).
            LuthierError: It cannot be served here.
        """
        ...

    def remover(self, model: ServedModel) -> Callable[[Any], Any]:
        """What takes it off again."""
        ...


class Api:
    """All addresses. `asgi` is what a server runs.

    Args:
        engine: Has been started.
        served: Models by name.
        adapters: What may be loaded.
        limits: What is taken at most.
        keys: Who may ask.
        hosts: As `Guard` takes them.
        page: The HTML at ``/``.
    """

    def __init__(
        self,
        engine: ServingEngine,
        served: ServedModels,
        adapters: Adapters,
        *,
        limits: Limits,
        keys: Keys,
        hosts: Collection[str] | None,
        page: str,
    ) -> None:
        self._engine, self._served, self._adapters, self._limits = engine, served, adapters, limits
        self._page = page
        self.metrics = Metrics()
        # One thread: tokenizers and templates are not asked by two at once, and a long text keeps nobody's stream waiting.
        self._rendering = ThreadPoolExecutor(1, "rendering")
        self._swap = asyncio.Lock()
        routes = [
            Route("/", self._show_page),
            Route("/health", self._health),
            Route("/metrics", self._show_metrics),
            Route("/v1/models", self._list_models),
            Route("/v1/models/{name:path}", self._show_model),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._complete, methods=["POST"]),
            Route("/v1/adapters", self._list_adapters),
            Route("/v1/adapters", self._load_adapter, methods=["POST"]),
            Route("/v1/adapters/{name}", self._unload_adapter, methods=["DELETE"]),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse_http, RefusedError: _refuse})
        paths = {route.path for route in routes}
        self.asgi: ASGIApp = Guard(app, keys, hosts, self.metrics, paths)

    def close(self) -> None:
        """When nobody asks any more."""
        self._rendering.shutdown(wait=False, cancel_futures=True)

    # -- looking -------------------------------------------------------------------------------------------------------

    async def _show_page(self, _: HttpRequest) -> Response:
        return HTMLResponse(self._page)

    async def _health(self, _: HttpRequest) -> Response:
        alive = self._engine.is_alive
        return JSONResponse({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    async def _show_metrics(self, _: HttpRequest) -> Response:
        gauges = {
            "luthier_active_answers": ("Answers in progress.", self._engine.num_active),
            "luthier_waiting_answers": ("Answers that wait for a slot.", self._engine.num_waiting),
            "luthier_slots": ("Answers that can be in progress at once.", self._engine.num_slots),
            "luthier_steps": ("Steps of the model since the server began.", self._engine.num_steps),
            "luthier_models": ("Models that are served.", len(self._served.all())),
        }
        return PlainTextResponse(self.metrics.text(gauges), media_type=KIND)

    async def _list_models(self, _: HttpRequest) -> Response:
        return JSONResponse({"object": "list", "data": [model.to_json() for model in self._served.all()]})

    async def _show_model(self, request: HttpRequest) -> Response:
        return JSONResponse(self._served.find(request.path_params["name"]).to_json())

    # -- answering -----------------------------------------------------------------------------------------------------

    async def _chat(self, request: HttpRequest) -> Response:
        wish = read_chat(await self._body(request), self._limits)
        model = self._served.find(wish.settings.model)
        rows = await self._render(chat_requests, model, wish)
        return await self._answer(request, model, wish, rows, ChatReplies(model.name))

    async def _complete(self, request: HttpRequest) -> Response:
        wish = read_completion(await self._body(request), self._limits)
        model = self._served.find(wish.settings.model)
        rows = await self._render(completion_requests, model, wish)
        return await self._answer(request, model, wish, rows, CompletionReplies(model.name))

    async def _render(self, build: Callable[..., Any], model: ServedModel, wish: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._rendering, build, model, wish, self._limits, self._engine.context_tokens
        )

    async def _answer(
        self,
        request: HttpRequest,
        model: ServedModel,
        wish: ChatWish | CompletionWish,
        rows: Any,
        replies: ChatReplies | CompletionReplies,
    ) -> Response:
        answering = Answering(self._engine, model, rows, wish.settings, self.metrics, self._limits.answer_seconds)
        if wish.settings.stream:
            return _EventStream(_events(answering, wish, replies), answering)
        try:
            return JSONResponse(await _unless_gone(request, _whole(answering, wish, replies)))
        finally:
            answering.close()

    async def _body(self, request: HttpRequest) -> dict[str, Any]:
        most = self._limits.body_bytes
        too_large = RefusedError(413, f"The body is larger than {most:,} bytes.")
        if int(request.headers.get("content-length") or 0) > DISCARDED_BODIES * most:
            raise too_large
        body, size = bytearray(), 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for piece in request.stream():
                    size += len(piece)
                    if size > DISCARDED_BODIES * most:
                        raise too_large
                    if size <= most:
                        body += piece
        except TimeoutError as error:
            raise RefusedError(408, f"The body was not there after {self._limits.body_seconds:g} seconds.") from error
        if size > most:
            raise too_large
        return parse_object(bytes(body))

    # -- adapters ------------------------------------------------------------------------------------------------------

    async def _list_adapters(self, _: HttpRequest) -> Response:
        loaded = {model.name for model in self._served.all() if model.kind == "adapter"}
        names = sorted(loaded.union(await asyncio.to_thread(self._adapters.names)))
        return JSONResponse({"object": "list", "data": [{"run": name, "loaded": name in loaded} for name in names]})

    async def _load_adapter(self, request: HttpRequest) -> Response:
        fields = Fields(await self._body(request))
        name = fields.text("run")
        fields.end()
        if not name:
            raise bad("run is missing: the name of a run.", "run")
        async with self._swap:
            if any(model.name == name for model in self._served.all()):
                raise RefusedError(409, f"A model named '{name[:100]}' is served already.", code="model_exists")
            try:
                model, put_on = await asyncio.to_thread(self._adapters.open, name)
                await asyncio.wrap_future(self._engine.change(put_on))
            except LuthierError as error:
                status = 400 if isinstance(error, InputError) else 500
                raise RefusedError(status, f"The run '{name}' cannot be served here: {error}", param="run") from error
            self._served.add(model)
        return JSONResponse(model.to_json(), 201)

    async def _unload_adapter(self, request: HttpRequest) -> Response:
        async with self._swap:
            model = self._served.remove(request.path_params["name"])
            # Nobody can ask it any more; answers that are on their way are finished first.
            done = self._engine.change(self._adapters.remover(model), without_voice=model.adapter)
            await asyncio.wrap_future(done)
        return JSONResponse({"id": model.name, "object": "model", "deleted": True})


class _EventStream(StreamingResponse):
    """Server-sent events; the slots are free when the client has gone, also before it has read anything."""

    def __init__(self, events: AsyncIterator[bytes], answering: Answering) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answering.close()


async def _events(
    answering: Answering, wish: ChatWish | CompletionWish, replies: ChatReplies | CompletionReplies
) -> AsyncIterator[bytes]:
    for number in range(len(answering.rows)):
        if (first := replies.first(number)) is not None:
            yield _event(first)
    try:
        chunks = _held_chunks if isinstance(wish, ChatWish) and (wish.tools or wish.format) else _chunks
        async for chunk in chunks(answering, wish, replies):
            yield _event(chunk)
        if wish.settings.stream_usage:
            yield _event(replies.usage(answering.usage))
    except RefusedError as error:
        yield _event(error.to_json())
    yield b"data: [DONE]\n\n"


async def _chunks(
    answering: Answering, _: Any, replies: ChatReplies | CompletionReplies
) -> AsyncIterator[dict[str, Any]]:
    async for piece in answering.pieces():
        if piece.text or piece.logprobs:
            yield replies.piece(piece.number, piece.text, piece.logprobs)
        if piece.finish_reason is not None:
            yield replies.last(piece.number, piece.finish_reason)


async def _held_chunks(answering: Answering, wish: Any, replies: Any) -> AsyncIterator[dict[str, Any]]:
    """Where the answer must be read as a whole first (JSON that was asked for, tools), its text comes in one piece."""
    for number, choice in enumerate((await _whole(answering, wish, replies))["choices"]):
        message = choice["message"]
        if message["content"]:
            yield replies.piece(number, message["content"], None)
        if message.get("tool_calls"):
            yield replies.calls(number, message["tool_calls"])
        yield replies.last(number, choice["finish_reason"])


async def _whole(
    answering: Answering, wish: ChatWish | CompletionWish, replies: ChatReplies | CompletionReplies
) -> dict[str, Any]:
    num = len(answering.rows)
    texts, reasons = [""] * num, [""] * num
    logprobs: list[Any] = [[] if wish.settings.num_likeliest is not None else None for _ in range(num)]
    async for piece in answering.pieces():
        texts[piece.number] += piece.text
        if piece.logprobs:
            logprobs[piece.number] += piece.logprobs
        reasons[piece.number] = piece.finish_reason or ""
    choices = []
    for index, (text, reason) in enumerate(zip(texts, reasons, strict=True)):
        said, calls = text, []
        if isinstance(wish, ChatWish):
            if wish.tools:
                said, calls = read_calls(text, {tool["function"]["name"] for tool in wish.tools})
            if wish.format is not None and not calls:
                wish.format.check(said)
        choices.append(replies.whole(index, said, "tool_calls" if calls else reason, logprobs[index], calls))
    return replies.together(choices, answering.usage)


async def _unless_gone(request: HttpRequest, work: Any) -> Any:
    """The result of the work, which is given up when the client leaves."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise RefusedError(499, "The client has gone.")
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()


def _event(content: Mapping[str, Any] | None) -> bytes:
    return b"data: " + json.dumps(content, ensure_ascii=False).encode() + b"\n\n"


async def _refuse(_: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refuse(error)


async def _refuse_http(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: "There is nothing at this address.", 405: f"{request.method} is not possible here."}
    return refuse(
        RefusedError(error.status_code, words.get(error.status_code, str(error.detail)), headers=error.headers)
    )
