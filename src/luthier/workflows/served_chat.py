"""The conversation of `luthier chat` with models that a server has: `luthier serve`, here or on another machine.

No torch here: the server renders, computes and decodes. What only a model in memory can show (tokens) is refused in words.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Generator
from typing import Any
from urllib.parse import quote, urlsplit

from luthier.errors import EndpointError, InputError
from luthier.generate.endpoint import LOCAL_HOSTS
from luthier.types import Message
from luthier.workflows.chat import Answer, ChatSession, PromptToken, Speaker, Turn

SILENT_SECONDS = 120.0
"""A server that says nothing for so long is given up."""


class ServedChat(ChatSession):
    """A `ChatSession` over HTTP.

    Args:
        server: Address, with or without ``/v1``.
        model: The tuned one, by its name there; the base model is the one that the server calls base.
        key: Sent as a bearer token; None sends none.
        max_new_tokens: Longest answer; None for the model's own limit.

    Raises:
        InputError: The address is none, or the key would travel unencrypted.
        EndpointError: The server cannot be reached, refuses, or has no such model.
    """

    def __init__(self, server: str, model: str, *, key: str | None = None, max_new_tokens: int | None = None) -> None:
        if max_new_tokens is not None and max_new_tokens < 1:
            raise InputError(f"The longest answer must have at least 1 token, not {max_new_tokens}.")
        self._address, self._key = _address(server, key), key
        self._model, self._max_new_tokens, self._num_asked = model, max_new_tokens, 0
        with self._open(f"models/{quote(model, safe='')}") as answer:
            about = json.load(answer)
        self.mode, self.system, self.turns = "tuned", None, []
        self.temperature = float(about.get("temperature", 0.0))

    @property
    def name(self) -> str:
        """Of the model."""
        return self._model

    @property
    def base_is_another_model(self) -> bool:
        """Never one of this process."""
        return False

    def set_system(self, text: str | None) -> None:
        """Set the system prompt from the next message on; whether the template takes one the server says then."""
        self.system = text

    def prompt_tokens(self, speaker: Speaker, message: str | None = None) -> list[PromptToken]:
        """Not to be had.

        Raises:
            InputError: Always.
        """
        del speaker, message
        raise InputError("A server does not show tokens. Use luthier chat on the run itself for that.")

    def _request(self, speaker: Speaker, message: str) -> Any:
        body: dict[str, Any] = {
            "model": self._model if speaker == "tuned" else "base",
            "messages": [_spelt(m) for m in self.messages(speaker, message)],
            "temperature": self.temperature,
            "seed": self._num_asked,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return body if self._max_new_tokens is None else {**body, "max_tokens": self._max_new_tokens}

    def _stream(self, speaker: Speaker, request: Any, turn: Turn) -> Generator[str, None, None]:
        answer = Answer(())
        try:
            with self._open("chat/completions", request) as events:
                turn.answers[speaker] = answer
                for line in events:
                    if not line.startswith(b"data: {"):
                        continue
                    chunk = json.loads(line[6:])
                    if "error" in chunk:
                        raise EndpointError(
                            f"{self._address} ended the answer: {chunk['error']['message']}", ends_all=False
                        )
                    answer.num_tokens = (chunk.get("usage") or {}).get("completion_tokens", answer.num_tokens)
                    for choice in chunk["choices"]:
                        answer.ended_by = choice["finish_reason"] or answer.ended_by
                        if text := choice["delta"].get("content"):
                            answer.text += text
                            yield text
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            raise EndpointError(f"{self._address}: the answer broke off: {error!r}", ends_all=False) from error

    def _open(self, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._address}/{path}", data, headers)
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        try:
            return urllib.request.urlopen(request, timeout=SILENT_SECONDS)
        except urllib.error.HTTPError as error:
            with error:
                raise EndpointError(
                    f"{self._address} answered {error.code}: {_said(error.read())}", ends_all=False
                ) from error
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise EndpointError(
                f"{self._address} cannot be reached: {why}. Is luthier serve running there?", ends_all=True
            ) from error


def _address(server: str, key: str | None) -> str:
    parts = urlsplit(server.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise InputError(f"'{server}' is no address of a server; it looks like http://127.0.0.1:8000")
    if key and parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
        raise InputError(
            f"{server}: the key would travel unencrypted. Use https, or unset the variable that holds the key."
        )
    path = parts.path.rstrip("/")
    return parts._replace(path=path if path.endswith("/v1") else f"{path}/v1", query="", fragment="").geturl()


def _spelt(message: Message) -> dict[str, str]:
    return {"role": message.role, "content": message.content}


def _said(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
