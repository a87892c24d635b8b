"""`luthier chat --server`: the same conversation, asked of a server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from luthier.cli.app import main
from luthier.errors import EndpointError, InputError
from luthier.serve.limits import Limits
from luthier.workflows.served_chat import ServedChat
from tests.serving import Place, eventually, serving


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with serving() as found:
        yield found


def address(place: Place) -> str:
    return f"http://127.0.0.1:{place.port}"


def test_both_speakers_answer_as_the_server_does_and_remember_their_own(place: Place) -> None:
    session = ServedChat(address(place), "red", max_new_tokens=9)
    session.mode = "both"
    pieces = list(session.ask("Hello"))
    for speaker, model in (("base", "base"), ("tuned", "red")):
        whole = place.chat(model, "Hello", max_tokens=9, seed=0).json
        text = whole["choices"][0]["message"]["content"]
        assert "".join(piece.text for piece in pieces if piece.speaker == speaker) == text
        answer = session.turns[0].answers[speaker]
        assert (answer.text, answer.num_tokens) == (text, whole["usage"]["completion_tokens"])
        assert answer.ended_by == whole["choices"][0]["finish_reason"]
    session.answer("And?")
    for speaker in ("base", "tuned"):
        said = session.turns[0].answers[speaker].text
        assert [m.content for m in session.messages(speaker)][:3] == ["Hello", said, "And?"]


def test_stopping_frees_the_slot() -> None:
    with serving(limits=Limits(prompt_tokens=100, output_tokens=400), step_seconds=0.02) as place:
        pieces = ServedChat(f"{address(place)}/v1/", "blue", max_new_tokens=400).ask("Go on")
        next(pieces)
        assert place.engine.num_active == 1
        pieces.close()
        eventually(lambda: place.engine.num_active == 0)


def test_what_cannot_be(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EndpointError, match="no model 'green'"):
        ServedChat(address(place), "green")
    with pytest.raises(EndpointError, match="cannot be reached"):
        ServedChat("http://127.0.0.1:9", "red")
    for wrong in ("127.0.0.1:8000", "ftp://x", "http://me:pw@host"):
        with pytest.raises(InputError, match="no address"):
            ServedChat(wrong, "red")
    with pytest.raises(InputError, match="unencrypted"):
        ServedChat("http://far.example", "red", key="k" * 20)
    session = ServedChat(address(place), "red")
    with pytest.raises(EndpointError, match="tokens; this server takes"):
        session.answer("word " * 500)
    assert session.turns == []
    with pytest.raises(InputError, match="tokens"):
        session.prompt_tokens("tuned", "x")


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    key = "a-key-of-good-length"
    with serving(key=key) as place:
        arguments = [
            "chat",
            "red",
            "--server",
            address(place),
            "-m",
            "Hello",
            "--both",
            "--max-new-tokens",
            "5",
            "--json",
        ]
        assert main(arguments) == 2
        assert "401" in json.loads(capsys.readouterr().out)["error"]["message"]
        monkeypatch.setenv("LUTHIER_API_KEY", key)
        assert main(arguments) == 0
        answers = json.loads(capsys.readouterr().out)["answers"]
        assert set(answers) == {"base", "tuned"}
        assert answers["tuned"]["num_tokens"] == 5
