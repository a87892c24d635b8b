"""The client of OpenAI-compatible endpoints against a server with moods."""

from __future__ import annotations

import email.utils
import itertools
import time
from collections.abc import Callable

import pytest
from tests.fake_openai import FakeOpenAI, Mood, fake_openai

from luthier.data.asking import Question
from luthier.errors import EndpointError, InputError
from luthier.generate import endpoint as module
from luthier.generate.endpoint import Endpoint
from luthier.types import Message

QUESTION = Question((Message("system", "Be kind."), Message("user", "2 + 2?")), 50, 0.5, 7)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)


def first_then(mood: Mood, times: int = 1) -> Callable[..., Mood]:
    return lambda asked: mood if asked.number <= times else Mood("four")


def client(server: FakeOpenAI, **settings: object) -> Endpoint:
    return Endpoint(server.url, "m", **settings)  # pyright: ignore[reportArgumentType]


def test_what_is_asked_and_answered():
    with fake_openai(lambda _: Mood("four", finish_reason="length")) as server:
        answer = client(server, key="secret").ask(QUESTION)
    (asked,) = server.asked
    assert asked.body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "2 + 2?"}],
        "max_tokens": 50,
        "temperature": 0.5,
        "seed": 7,
    }
    assert asked.headers["Authorization"] == "Bearer secret"
    assert (answer.text, answer.model, answer.was_cut) == ("four", "fake-1", True)
    assert (answer.prompt_tokens, answer.answer_tokens) == (10, 5)
    assert answer.at


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://localhost:8000", "http://localhost:8000/v1/chat/completions"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1/chat/completions"),
        ("https://x.example/api/v2", "https://x.example/api/v2/chat/completions"),
        ("https://x.example/v1/chat/completions", "https://x.example/v1/chat/completions"),
        ("https://x.example/v1?version=3", "https://x.example/v1/chat/completions?version=3"),
    ],
)
def test_addresses(given, address):
    assert Endpoint(given, "m").address == address


@pytest.mark.parametrize("given", ["file:///etc/passwd", "localhost:8000", "ftp://x/v1", "", "http://"])
def test_what_is_no_address(given):
    with pytest.raises(InputError, match="no address"):
        Endpoint(given, "m")


def test_keys_do_not_travel_unencrypted():
    with pytest.raises(InputError, match="unencrypted"):
        Endpoint("http://x.example/v1", "m", key="secret")
    with pytest.raises(InputError, match="holds a login"):
        Endpoint("https://me:secret@x.example/v1", "m")
    Endpoint("http://127.0.0.1:1/v1", "m", key="secret")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_what_may_pass_is_tried_again(quick, status):
    with fake_openai(first_then(Mood("busy", status), 2)) as server:
        assert client(server).ask(QUESTION).text == "four"
        assert len(server.asked) == 3


def test_pauses_grow(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.05)
    times: list[float] = []
    with fake_openai(lambda asked: times.append(time.monotonic()) or first_then(Mood("busy", 500), 3)(asked)) as server:
        client(server).ask(QUESTION)
    first, second, third = (later - earlier for earlier, later in itertools.pairwise(times))
    assert 0.03 < first < second < third
    assert third > 0.15  # 0.05 × 2², less a quarter of chance


@pytest.mark.parametrize("as_date", [False, True])
def test_the_server_says_how_long_to_wait(quick, as_date):
    seconds = 2 if as_date else 0.4  # dates have whole seconds
    header = email.utils.formatdate(time.time() + seconds, usegmt=True) if as_date else "0.4"
    with fake_openai(first_then(Mood("slow down", 429, {"Retry-After": header}))) as server:
        began = time.monotonic()
        assert client(server).ask(QUESTION).text == "four"
        assert time.monotonic() - began >= (0.4 if not as_date else 0.9)
    with fake_openai(lambda _: Mood("tomorrow", 429, {"Retry-After": "86400"})) as server:
        with pytest.raises(EndpointError, match="left alone for 24 h") as caught:
            client(server).ask(QUESTION)
        assert caught.value.ends_all
        assert len(server.asked) == 1


def test_it_gives_up_on_one_question_and_after_five_on_all(quick):
    with fake_openai(lambda _: Mood("broken", 500)) as server:
        endpoint = client(server, retries=1)
        for number in range(1, 6):
            with pytest.raises(EndpointError, match="2 times in vain: it answered 500 broken") as caught:
                endpoint.ask(QUESTION)
            assert caught.value.ends_all is (number == 5)
        assert len(server.asked) == 10


@pytest.mark.parametrize(
    ("mood", "expected"),
    [
        (Mood("bad key", 401), "the key is missing or wrong.*bad key"),
        (Mood("no model m", 404), "no such address or no such model.*no model m"),
        (Mood("", 302, {"Location": "https://elsewhere.example/"}), "sends elsewhere, to https://elsewhere.example/"),
        (Mood(raw=b"<html>Welcome</html>"), "does not answer as an OpenAI-compatible endpoint.*Welcome"),
        (Mood(raw=b'{"choices": []}'), "does not answer as"),
        (Mood(raw=b"[]"), "does not answer as"),
    ],
)
def test_what_is_hopeless_ends_all_at_once(mood, expected):
    with fake_openai(lambda _: mood) as server:
        with pytest.raises(EndpointError, match=expected) as caught:
            client(server, key="secret").ask(QUESTION)
        assert caught.value.ends_all
        assert len(server.asked) == 1
        assert "secret" not in str(caught.value)


def test_a_refused_question_is_about_that_question_unless_all_are(quick):
    with fake_openai(lambda asked: Mood("too long", 400) if asked.number <= 3 else Mood("four")) as server:
        endpoint = client(server)
        for _ in range(3):
            with pytest.raises(EndpointError, match="answered 400: too long") as caught:
                endpoint.ask(QUESTION)
            assert not caught.value.ends_all
        assert endpoint.ask(QUESTION).text == "four"
    with fake_openai(lambda _: Mood("  ")) as server, pytest.raises(EndpointError, match="said nothing") as caught:
        client(server).ask(QUESTION)
    assert not caught.value.ends_all


def test_fields_that_a_model_refuses_are_sent_otherwise():
    def picky(asked):
        if "max_tokens" in asked.body:
            return Mood("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", 400)
        if "temperature" in asked.body:
            return Mood("'temperature' does not support 0.5 with this model.", 400)
        return Mood("four")

    with fake_openai(picky) as server:
        endpoint = client(server)
        assert endpoint.ask(QUESTION).text == "four"
        assert endpoint.ask(QUESTION).text == "four"
        assert len(server.asked) == 4  # it remembers
        assert server.asked[-1].body["max_completion_tokens"] == 50


@pytest.mark.parametrize("mood", [Mood("four", hang_seconds=1.5), Mood("four", trickle=True)])
def test_what_hangs_or_trickles_is_not_waited_for(quick, mood):
    with fake_openai(first_then(mood)) as server:
        began = time.monotonic()
        assert client(server, timeout_seconds=0.4).ask(QUESTION).text == "four"
        assert time.monotonic() - began < 1.4
    with (
        fake_openai(lambda _: Mood(hang_seconds=0.6)) as server,
        pytest.raises(EndpointError, match=r"no answer in 0.2 s \(see --timeout\)"),
    ):
        client(server, timeout_seconds=0.2, retries=1).ask(QUESTION)


def test_a_connection_that_breaks_is_tried_again(quick):
    with fake_openai(first_then(Mood("four", missing_bytes=5))) as server:
        assert client(server).ask(QUESTION).text == "four"
        assert len(server.asked) == 2


def test_a_server_that_is_not_there_is_said_at_once():
    began = time.monotonic()
    with pytest.raises(EndpointError, match=r"cannot be reached.*refused.*Is the server running") as caught:
        Endpoint("http://127.0.0.1:9/v1", "m").ask(QUESTION)
    assert caught.value.ends_all
    assert time.monotonic() - began < 1


def test_the_rate_is_kept():
    with fake_openai(lambda _: Mood("four")) as server:
        endpoint = client(server, per_minute=600)
        began = time.monotonic()
        for _ in range(4):
            endpoint.ask(QUESTION)
        assert 0.3 <= time.monotonic() - began < 2


def test_who_waits_can_be_stopped():
    import threading

    with fake_openai(lambda _: Mood("busy", 429, {"Retry-After": "300"})) as server:
        endpoint = client(server)
        threading.Timer(0.3, endpoint.stop).start()
        began = time.monotonic()
        with pytest.raises(EndpointError, match="Stopped"):
            endpoint.ask(QUESTION)
        assert time.monotonic() - began < 5


def test_it_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, luthier.generate.endpoint, luthier.generate.journal; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
