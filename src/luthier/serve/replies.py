"""The shapes of answers in OpenAI's interface: whole objects, chunks of a stream, log-probabilities, numbers of tokens."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

LEAST_LOGPROB = -9999.0
"""What is sent for a probability of 0: JSON has no infinity."""


class TokenLogprob(NamedTuple):
    """A token of an answer; `likeliest` are the most probable ones at its place."""

    text: str
    logprob: float
    likeliest: tuple[tuple[str, float], ...]


class Usage(NamedTuple):
    """Numbers of tokens of a request and all its answers."""

    prompt: int
    completion: int

    def to_json(self) -> dict[str, int]:
        """As OpenAI names them."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


class ChatReplies:
    """Of one request for chat."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    def first(self, index: int) -> dict[str, Any] | None:
        """The chunk that begins an answer."""
        return self._chunk({"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """A chunk with the next piece of text."""
        choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
        return self._chunk(choice | _logprobs_of(_chat_logprobs(logprobs)))

    def calls(self, index: int, calls: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A chunk with calls of tools."""
        delta = {"tool_calls": [{"index": number, **call} for number, call in enumerate(calls)]}
        return self._chunk({"index": index, "delta": delta, "finish_reason": None})

    def last(self, index: int, finish_reason: str) -> dict[str, Any]:
        """The chunk that ends an answer."""
        return self._chunk({"index": index, "delta": {}, "finish_reason": finish_reason})

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The chunk that ends a stream, where it was asked for."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage.to_json()}

    def whole(
        self,
        index: int,
        text: str,
        finish_reason: str,
        logprobs: Sequence[TokenLogprob] | None,
        calls: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """A choice of an answer that is not streamed."""
        message: dict[str, Any] = {"role": "assistant", "content": None if calls and not text else text}
        if calls:
            message["tool_calls"] = list(calls)
        return {
            "index": index,
            "message": message,
            "finish_reason": finish_reason,
            "logprobs": _chat_logprobs(logprobs),
        }

    def together(self, choices: Sequence[Mapping[str, Any]], usage: Usage) -> dict[str, Any]:
        """The answer that is not streamed."""
        return {**self._head, "object": "chat.completion", "choices": list(choices), "usage": usage.to_json()}

    def _chunk(self, choice: Mapping[str, Any]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}


class CompletionReplies:
    """Of one request for the continuation of text."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion"}
        self._head |= {"created": int(time.time()), "model": model}
        self._offsets: dict[int, int] = {}

    def first(self, index: int) -> dict[str, Any] | None:
        """Answers begin with their first piece."""
        del index

    def piece(self, index: int, text: str, logprobs: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """A chunk with the next piece of text."""
        return self.together([self.whole(index, text, None, logprobs)], None)

    def last(self, index: int, finish_reason: str) -> dict[str, Any]:
        """The chunk that ends an answer."""
        return self.together([self.whole(index, "", finish_reason, None)], None)

    def usage(self, usage: Usage) -> dict[str, Any]:
        """The chunk that ends a stream, where it was asked for."""
        return self.together([], usage)

    def whole(
        self,
        index: int,
        text: str,
        finish_reason: str | None,
        logprobs: Sequence[TokenLogprob] | None,
        calls: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """A choice."""
        assert not calls
        found = None if logprobs is None else self._logprobs(index, logprobs)
        return {"index": index, "text": text, "finish_reason": finish_reason, "logprobs": found}

    def together(self, choices: Sequence[Mapping[str, Any]], usage: Usage | None) -> dict[str, Any]:
        """Choices under one head."""
        return {**self._head, "choices": list(choices), **({} if usage is None else {"usage": usage.to_json()})}

    def _logprobs(self, index: int, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        offsets = []
        for token in tokens:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(token.text)
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [_finite(token.logprob) for token in tokens],
            "top_logprobs": [{text: _finite(value) for text, value in token.likeliest} for token in tokens],
            "text_offset": offsets,
        }


def _chat_logprobs(tokens: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    if tokens is None:
        return None
    return {
        "content": [
            _one(t.text, t.logprob) | {"top_logprobs": [_one(text, value) for text, value in t.likeliest]}
            for t in tokens
        ],
        "refusal": None,
    }


def _logprobs_of(found: dict[str, Any] | None) -> dict[str, Any]:
    return {} if found is None else {"logprobs": found}


def _one(text: str, logprob: float) -> dict[str, Any]:
    # Part of a character has no text of its own, and its bytes are not known here.
    return {
        "token": text,
        "logprob": _finite(logprob),
        "bytes": None if "\ufffd" in text else list(text.encode()),
    }


def _finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
