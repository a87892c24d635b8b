"""A model behind any OpenAI-compatible endpoint (vLLM, llama.cpp, Ollama, LM Studio, a provider): one question, one answer.

Tried again, with growing pauses: what may pass (429, 5xx, time-outs, broken connections), and never longer than the server asks
for. Not tried again: what would be refused again. A server that was never reached, a wrong key, a wrong address or several
failures in a row end all asking. Redirects are not followed: the key would go where nobody sent it. No torch here.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from luthier.data.asking import Answer, Question
from luthier.errors import EmptyAnswerError, EndpointError, InputError
from luthier.runs.manifest import now
from luthier.units import format_seconds

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
HOPELESS = {
    401: "the key is missing or wrong. Put it into the environment variable named by --key-env",
    402: "the account has no credit",
    403: "the key may not use it",
    404: "there is no such address or no such model. The address usually ends in /v1; the model is named as the server names it",
    405: "this is no address of chat completions. It usually ends in /v1",
    407: "the proxy wants a login",
}
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
MOST_WAITING_SECONDS = 600.0
MOST_FAILURES_IN_A_ROW = 5
_MOST_ANSWER_BYTES = 16 * 1024**2
_EXCERPT = 300
# Fields that some models refuse by name, and what is sent in their place.
_RENAMED: dict[str, str | None] = {"max_tokens": "max_completion_tokens", "temperature": None, "seed": None}


class _Passing(Exception):  # noqa: N818 - not an error yet: it is tried again
    """Why an attempt failed that may succeed later, and how long the server wants to be left alone."""

    def __init__(self, why: str, wait_seconds: float | None = None) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(why)


class _Reply(NamedTuple):
    status: int
    headers: Any
    body: bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Endpoint:
    """A `ChatModel` behind an address.

    Args:
        url: Up to ``/v1``, or the whole address of chat completions.
        model: As the server names it.
        key: Sent as a bearer token; None sends none.
        timeout_seconds: For one attempt, from the first byte sent to the last received.
        retries: Attempts after the first.
        per_minute: Questions at most; None for no limit.
        parallel: Questions at once.
        clock: For tests.

    Raises:
        InputError: The address is none, or the key would travel unencrypted.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        timeout_seconds: float = 120.0,
        retries: int = 5,
        per_minute: float | None = None,
        parallel: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = _address(url)
        parts = urlsplit(self.address)
        if key and parts.scheme == "http" and parts.hostname not in LOCAL_HOSTS:
            raise InputError(
                f"{url}: the key would travel unencrypted. Use https, or unset the variable that holds the key."
            )
        if timeout_seconds <= 0 or (per_minute is not None and per_minute <= 0) or parallel < 1:
            raise InputError("The time-out, the questions a minute and those at once must be above 0.")
        self._name, self._key = model, key
        self._timeout_seconds, self._retries, self._parallel, self._clock = timeout_seconds, retries, parallel, clock
        self._spacing_seconds = 60 / per_minute if per_minute else 0.0
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._not_before = 0.0
        self._was_reached = False
        self._failures_in_a_row = 0
        self._fields: dict[str, str | None] = {name: name for name in _RENAMED}

    @property
    def name(self) -> str:
        """The model."""
        return self._name

    @property
    def parallel(self) -> int:
        """Questions at once."""
        return self._parallel

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._stopped.set()

    def ask(self, question: Question) -> Answer:
        """Answer a question.

        Raises:
            EndpointError: As `ChatModel.ask`.
        """
        why = "?"
        for attempt in range(self._retries + 1):
            self._wait_for_turn()
            try:
                answer = self._attempt(question)
            except _Passing as passing:
                why = str(passing)
                self._pause(attempt, passing.wait_seconds)
            else:
                with self._lock:
                    self._failures_in_a_row = 0
                return answer
        with self._lock:
            self._failures_in_a_row += 1
            is_last = self._failures_in_a_row >= MOST_FAILURES_IN_A_ROW
        times = f"{self._retries + 1} times in vain" if self._retries else "in vain"
        many = f" {MOST_FAILURES_IN_A_ROW} questions in a row failed." if is_last else ""
        raise EndpointError(f"{self.address} was asked {times}: {why}.{many}", ends_all=is_last)

    def _attempt(self, question: Question) -> Answer:
        while True:
            fields = dict(self._fields)
            reply = self._post(self._payload(question, fields))
            if reply.status == 200:
                return self._read(reply.body)
            said = _said(reply.body)
            if reply.status == 400 and self._rename(said, fields):
                continue
            where = f"{self.address} answered {reply.status}"
            if reply.status in PASSING:
                raise _Passing(
                    f"it answered {reply.status} {said}".rstrip(), _retry_after(reply.headers.get("Retry-After"))
                )
            if reply.status in HOPELESS:
                raise EndpointError(f"{where}: {HOPELESS[reply.status]}. {said}".rstrip(), ends_all=True)
            if 300 <= reply.status < 400:
                there = reply.headers.get("Location", "nowhere")
                raise EndpointError(f"{where}: it sends elsewhere, to {there}. Give that address.", ends_all=True)
            with self._lock:
                self._failures_in_a_row += 1
                ends_all = self._failures_in_a_row >= MOST_FAILURES_IN_A_ROW
            raise EndpointError(f"{where}: {said or 'no reason'}", ends_all=ends_all)

    def _payload(self, question: Question, fields: dict[str, str | None]) -> bytes:
        values = {"max_tokens": question.max_tokens, "temperature": question.temperature, "seed": question.seed}
        messages = [{"role": message.role, "content": message.content} for message in question.messages]
        settings = {field: values[name] for name, field in fields.items() if field is not None}
        return json.dumps({"model": self._name, "messages": messages, **settings}).encode()

    def _rename(self, said: str, sent: dict[str, str | None]) -> bool:
        """Whether the complaint is about a field that can be sent otherwise."""
        for name, other in _RENAMED.items():
            if (
                sent[name] == name
                and name in said
                and any(word in said.lower() for word in ("support", "unknown", "unrecog"))
            ):
                self._fields[name] = other
                return True
        return False

    def _post(self, payload: bytes) -> _Reply:
        request = urllib.request.Request(self.address, payload, {"Content-Type": "application/json"}, method="POST")
        if self._key:
            request.add_unredirected_header("Authorization", f"Bearer {self._key}")
        ends_at = time.monotonic() + self._timeout_seconds
        try:
            try:
                opened: Any = self._opener.open(request, timeout=self._timeout_seconds)
            except urllib.error.HTTPError as error:
                opened = error
            self._was_reached = True
            with opened:
                return _Reply(opened.status, opened.headers, _read_until(opened, ends_at))
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> Exception:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            return _Passing(f"no answer in {format_seconds(self._timeout_seconds)} (see --timeout)")
        words = str(reason) or type(reason).__name__
        if not self._was_reached:
            return EndpointError(
                f"{self.address} cannot be reached: {words}. Is the server running, and is that its address?",
                ends_all=True,
            )
        return _Passing(f"the connection broke: {words}")

    def _read(self, body: bytes) -> Answer:
        try:
            content = json.loads(body)
            choice = content["choices"][0]
            text, ended_by = choice["message"]["content"], choice.get("finish_reason")
            usage = content.get("usage") or {}
            num_prompt, num_answer = (int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            shown = body[:_EXCERPT].decode("utf-8", "replace")
            raise EndpointError(
                f"{self.address} does not answer as an OpenAI-compatible endpoint: {shown!r}", ends_all=True
            ) from error
        said = text if isinstance(text, str) and text.strip() else ""
        model = str(content.get("model") or self._name)
        answer = Answer(said, model, ended_by == "length", num_prompt, num_answer, now())
        if not said:
            raise EmptyAnswerError(f"{self.address} said nothing (finish_reason: {ended_by}).", answer)
        return answer

    def _wait_for_turn(self) -> None:
        """Until this question may be asked: the rate, and what a server asked for, count for all."""
        with self._lock:
            at = max(self._clock(), self._not_before)
            self._not_before = at + self._spacing_seconds
        self._sleep(at - self._clock())

    def _pause(self, attempt: int, wanted_seconds: float | None) -> None:
        if attempt == self._retries:
            return
        if wanted_seconds is not None and wanted_seconds > MOST_WAITING_SECONDS:
            raise EndpointError(
                f"{self.address} wants to be left alone for {format_seconds(wanted_seconds)}. Go on later with the same command.",
                ends_all=True,
            )
        growing = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt) * random.uniform(0.75, 1.25)
        if wanted_seconds is None:
            self._sleep(growing)
            return
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + wanted_seconds)

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._stopped.wait(seconds)
        if self._stopped.is_set():
            raise EndpointError("Stopped.", ends_all=True)


def _address(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"'{url}' is no address of an endpoint; it looks like http://localhost:8000/v1")
    if parts.username or parts.password:
        raise InputError("The address holds a login; put the key into an environment variable instead (--key-env).")
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = f"{path or '/v1'}/chat/completions"
    return parts._replace(path=path, fragment="").geturl()


def _read_until(opened: Any, ends_at: float) -> bytes:
    """The body; a server that sends a byte now and then is not waited for beyond the limit."""
    pieces: list[bytes] = []
    size = 0
    while piece := opened.read1(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > _MOST_ANSWER_BYTES:
            raise http.client.HTTPException(f"an answer of more than {_MOST_ANSWER_BYTES:,} bytes")
        if time.monotonic() > ends_at:
            raise TimeoutError
    length = opened.headers.get("Content-Length")
    if length is not None and length.isdigit() and int(length) != size:
        raise ConnectionError(f"{size} of {length} bytes came")
    return b"".join(pieces)


def _said(body: bytes) -> str:
    """The words of an error, shortened."""
    text = body.decode("utf-8", "replace")
    try:
        content = json.loads(text)
        error = content.get("error", content)
        text = str(error.get("message") or error) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError):
        pass
    text = " ".join(text.split())
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


def _retry_after(value: str | None) -> float | None:
    """Seconds, also where a date is given."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
