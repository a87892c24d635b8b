"""From a request of a client to rows of the engine, and from their tokens to pieces of text, without blocking anybody."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from luthier.data.tokenizer_check import decode_text
from luthier.errors import DataError, InputError
from luthier.generate.protocol import FinishReason, Request
from luthier.generate.requests import build_request
from luthier.generate.running import Row
from luthier.serve.answer_text import AnswerText
from luthier.serve.engine import EngineStoppedError, QueueFullError, ServingEngine
from luthier.serve.limits import Limits
from luthier.serve.metrics import Metrics
from luthier.serve.read_request import ChatWish, CompletionWish, Settings
from luthier.serve.refusal import RefusedError, bad
from luthier.serve.replies import TokenLogprob, Usage
from luthier.serve.served import ServedModel
from luthier.serve.tool_calls import knows_tools


class Piece(NamedTuple):
    """What came of an answer, by its number among those of the request; with `finish_reason` it is the last."""

    number: int
    text: str
    logprobs: list[TokenLogprob] | None
    finish_reason: FinishReason | None


def chat_requests(model: ServedModel, wish: ChatWish, limits: Limits, context: int | None) -> list[Request]:
    """The rows of a chat, rendered by the model's contract.

    Raises:
        RefusedError: The template refuses the messages, or they are too long (400).
    """
    if wish.tools and not knows_tools(model.template.template):
        raise bad(f"The chat template of '{model.name}' has no place for tools.", "tools", "unsupported_parameter")
    try:
        request = build_request(model.contract, model.template, wish.messages, tools=wish.tools)
    except DataError as error:
        raise bad(str(error), "messages") from error
    return _rows(model, request, wish.settings, limits, context)


def completion_requests(model: ServedModel, wish: CompletionWish, limits: Limits, context: int | None) -> list[Request]:
    """The rows of a completion. Names of control tokens in a text are those tokens here: it is the raw prompt.

    Raises:
        RefusedError: A prompt is empty, too long, or holds ids that the model does not know (400).
    """
    tokenizer, contract = model.template.tokenizer, model.contract
    rows: list[Request] = []
    for prompt in wish.prompts:
        if isinstance(prompt, str):
            ids = list(tokenizer(prompt, add_special_tokens=False)["input_ids"])
            bos = contract.bos_token_id
            if model.template.wants_bos and bos is not None and ids[:1] != [bos]:
                ids.insert(0, bos)
        else:
            ids = list(prompt)
            if max(ids) >= len(tokenizer):
                raise bad(f"prompt has the token id {max(ids)}; the model knows {len(tokenizer)}.", "prompt")
        if not ids:
            raise bad("prompt is empty; this model needs at least one token.", "prompt")
        request = Request(tuple(ids), contract.max_new_tokens, contract.stop_ids, contract.temperature, contract.top_p)
        rows += _rows(model, request, wish.settings, limits, context)
    return rows


def _rows(
    model: ServedModel, request: Request, settings: Settings, limits: Limits, context: int | None
) -> list[Request]:
    most = limits.prompt_tokens if context is None else min(limits.prompt_tokens, context)
    if len(request.prompt_ids) > most:
        raise bad(f"The prompt has {len(request.prompt_ids):,} tokens; this server takes {most:,}.", None,
                  "context_length_exceeded")  # fmt: skip
    seed = secrets.randbits(62) if settings.seed is None else settings.seed
    asked = replace(
        request,
        max_new_tokens=settings.max_tokens or min(request.max_new_tokens, limits.output_tokens),
        temperature=request.temperature if settings.temperature is None else settings.temperature,
        top_p=request.top_p if settings.top_p is None else settings.top_p,
        use_adapter=model.adapter is not None,
        adapter=model.adapter,
        num_likeliest=settings.num_likeliest or 0,
    )
    return [replace(asked, seed=(seed + number) % 2**63) for number in range(settings.num_answers)]


class Answering:
    """The answers to one request while they are made. Close it, whatever happens: that frees their slots.

    Raises:
        RefusedError: The queue is full (429), the server ends (503), or the adapter has just been taken off (404).
    """

    def __init__(
        self,
        engine: ServingEngine,
        model: ServedModel,
        requests: Sequence[Request],
        settings: Settings,
        metrics: Metrics,
        limit_seconds: float,
    ) -> None:
        self._engine, self._model, self._metrics, self._limit_seconds = engine, model, metrics, limit_seconds
        self._wants_logprobs = settings.num_likeliest is not None
        self._began = time.monotonic()
        self._is_closed = False
        self._grown = asyncio.Event()
        self._failures: dict[Row, Exception] = {}
        self._num_prompt = sum(len(r.prompt_ids) for r in requests[:: settings.num_answers])
        loop = asyncio.get_running_loop()

        def on_change() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(self._grown.set)

        try:
            self.rows = engine.submit(requests, on_change, self._failures)
        except QueueFullError as error:
            pause = str(1 + error.ahead // engine.num_slots)
            raise RefusedError(429, f"The queue is full: {error}. Try again later.", code="queue_full",
                               headers={"Retry-After": pause}) from error  # fmt: skip
        except EngineStoppedError as error:
            raise _ending() from error
        except InputError as error:
            raise RefusedError(
                404, f"'{model.name}' is served no more.", param="model", code="model_not_found"
            ) from error
        decode, stop_ids = self._decode, model.contract.stop_ids
        self._texts = [AnswerText(decode, stop_ids, settings.stops) for _ in requests]
        self._num_read = [0] * len(requests)

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return Usage(self._num_prompt, sum(self._num_read))

    def close(self) -> None:
        """Nobody waits any more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._engine.cancel(self.rows)
        usage, seconds = self.usage, time.monotonic() - self._began
        self._metrics.answered(self._model.name, usage.prompt, usage.completion, seconds)

    async def pieces(self) -> AsyncIterator[Piece]:
        """All answers, piece by piece as they come.

        Raises:
            RefusedError: It took too long (504), the model failed (500), or the server ends (503).
        """
        open_answers = list(range(len(self.rows)))
        while open_answers:
            await self._wait()
            for index in list(open_answers):
                piece = self._read(index)
                if piece.finish_reason is not None:
                    open_answers.remove(index)
                if piece.text or piece.logprobs or piece.finish_reason is not None:
                    yield piece

    async def _wait(self) -> None:
        left = self._began + self._limit_seconds - time.monotonic()
        try:
            await asyncio.wait_for(self._grown.wait(), left)
        except TimeoutError:
            raise RefusedError(504, f"The answer was not whole after {self._limit_seconds:g} seconds.", code="timeout",
                               headers={"Retry-After": "10"}) from None  # fmt: skip
        self._grown.clear()
        for failure in self._failures.values():
            if isinstance(failure, EngineStoppedError):
                raise _ending()
            raise RefusedError(500, "The model failed while it answered; the server's log says why.")

    def _read(self, index: int) -> Piece:
        row, text = self.rows[index], self._texts[index]
        finish = row.finish_reason  # before the tokens: where it is set, all of them are there
        logprobs: list[TokenLogprob] = []
        for place in range(self._num_read[index], len(row.logprobs)):
            if not any(self._num_read):
                self._metrics.first_token(time.monotonic() - self._began)
            self._num_read[index] += 1
            token = row.token_ids[place]
            text.take(token)
            if self._wants_logprobs and token not in row.request.stop_ids:
                logprobs.append(self._logprob(row, place))
            if text.is_stopped:
                finish = "stop"
                self._engine.cancel([row])
                break
        if finish is not None:
            text.end()
        return Piece(index, text.new(), logprobs if self._wants_logprobs else None, finish)

    def _logprob(self, row: Row, place: int) -> TokenLogprob:
        likeliest = row.likeliest[place] if row.likeliest else ()
        named = tuple((self._decode([token]), value) for token, value in likeliest)
        return TokenLogprob(self._decode([row.token_ids[place]]), row.logprobs[place], named)

    def _decode(self, ids: Sequence[int]) -> str:
        return decode_text(self._model.template.tokenizer, ids)


def _ending() -> RefusedError:
    return RefusedError(503, "The server is ending.", headers={"Retry-After": "10"})
