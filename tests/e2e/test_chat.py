"""Chat on a tiny trained run: who answers, what is remembered, commands, the terminal's loop; no second model for an adapter."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from luthier.cli.app import main
from luthier.cli.chat_loop import COMMANDS, Conversation
from luthier.errors import InputError
from luthier.generate.batched import BatchedEngine
from luthier.generate.requests import build_request
from luthier.types import Message
from luthier.workflows.chat import ChatSession
from luthier.workflows.load_run import LoadedRun, load_run
from tests.tiny import save_tiny_model, write_chat_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("chat")
    save_tiny_model(folder / "model")
    write_chat_rows(folder / "rows.jsonl")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUTHIER_CACHE", str(folder / "cache"))
        recipes = [
            {
                "model": {"name": str(folder / "model")},
                "data": {"train": str(folder / "rows.jsonl")},
                "run": {"name": name, "folder": str(folder / "runs")},
                "adapter": {"kind": kind},
                "train": {"max_steps": 5, "batch_size": 8, "learning_rate": 3e-2, "num_threads": 1},
                "precision": {"compute": "fp32"},
                "evaluate": {"stop_test_rows": 0, "max_new_tokens": 8},
            }
            for name, kind in (("adapted", "lora"), ("full", "none"))
        ]
        code = (
            "import json, sys; from luthier.config.load import load_recipe; from luthier.workflows.train import train\n"
            "for recipe in json.loads(sys.argv[1]): train(load_recipe(recipe))"
        )
        subprocess.run(
            [sys.executable, "-c", code, json.dumps(recipes)],
            capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
        )
        yield folder


@pytest.fixture(scope="module")
def run(place: Path) -> LoadedRun:
    return load_run(place / "runs" / "adapted")


@pytest.fixture
def session(run: LoadedRun) -> ChatSession:
    return ChatSession(run)


def expected_text(run: LoadedRun, *messages: Message, use_adapter: bool) -> str:
    engine = BatchedEngine(run.model)  # type: ignore[arg-type]
    (answer,) = engine.generate([build_request(run.contract, run.template, messages, use_adapter=use_adapter)])
    return run.template.decode(answer.token_ids)


def test_streamed_pieces_make_the_answer_that_generate_gives(run: LoadedRun, session: ChatSession) -> None:
    session.mode = "both"
    pieces = list(session.ask("What is the colour?"))
    for speaker in ("base", "tuned"):
        whole = expected_text(run, Message("user", "What is the colour?"), use_adapter=speaker == "tuned")
        assert "".join(p.text for p in pieces if p.speaker == speaker) == whole
        assert session.turns[0].answers[speaker].text == whole
    assert session.turns[0].answers["base"].text != session.turns[0].answers["tuned"].text


def test_each_speaker_remembers_its_own_answers_and_shares_what_one_alone_said(session: ChatSession) -> None:
    session.mode = "both"
    both = session.answer("one").answers
    session.mode = "tuned"
    alone = session.answer("two").answers
    for speaker in ("base", "tuned"):
        assert [m.content for m in session.messages(speaker)] == ["one", both[speaker].text, "two", alone["tuned"].text]
    session.set_system("Be kind.")
    assert session.messages("base", "three")[0] == Message("system", "Be kind.")
    assert session.messages("base", "three")[-1] == Message("user", "three")
    session.reset()
    assert session.turns == []
    assert session.system == "Be kind."


def test_stopping_keeps_what_there_is(session: ChatSession) -> None:
    pieces = session.ask("What is the colour?")
    first = next(pieces)
    pieces.close()
    (turn,) = session.turns
    assert turn.answers["tuned"].text == first.text
    assert turn.answers["tuned"].ended_by == "stopped"
    assert session.answer("again").answers["tuned"].ended_by in ("stop", "length")


def test_a_message_that_is_refused_is_not_remembered(session: ChatSession) -> None:
    with pytest.raises(InputError, match="positions"):
        session.answer("word " * 600)
    assert session.turns == []


def test_tokens_are_the_prompt_and_the_answer(run: LoadedRun, session: ChatSession) -> None:
    with pytest.raises(InputError, match="Nothing has been said"):
        session.prompt_tokens("tuned")
    answer = session.answer("Hi")
    tokens = session.prompt_tokens("tuned")
    asked = build_request(run.contract, run.template, [Message("user", "Hi")])
    assert tuple(t.id for t in tokens if t.part != "answer") == asked.prompt_ids
    assert [t.id for t in tokens if t.part == "answer"] == answer.answers["tuned"].token_ids
    assert [t.text for t in tokens if t.part == "control"] == ["<|im_end|>"] or "<|im_start|>" in {
        t.text for t in tokens
    }
    upcoming = session.prompt_tokens("tuned", "Next?")
    assert len(upcoming) > len(tokens)
    assert all(t.part != "answer" for t in upcoming)


def test_temperature_draws_another_answer_each_time(session: ChatSession) -> None:
    session.set_temperature(3.0)
    texts = set()
    for _ in range(3):
        texts.add(session.answer("Hi").answers["tuned"].text)
        session.reset()
    assert len(texts) > 1
    for bad in (-1.0, float("nan")):
        with pytest.raises(InputError, match="temperature"):
            session.set_temperature(bad)


def test_saved_conversations_read_back(session: ChatSession, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to save"):
        session.save(tmp_path / "a.jsonl")
    session.mode = "both"
    turn = session.answer("Hi")
    session.save(tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["model"] for line in lines] == ["base", "tuned"]
    assert lines[1]["messages"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": turn.answers["tuned"].text},
    ]
    session.save(tmp_path / "a.md")
    assert "**user**: Hi" in (tmp_path / "a.md").read_text()
    for name, words in (("a.md", "exists already"), ("a.txt", "jsonl"), ("no/a.md", "no folder")):
        with pytest.raises(InputError, match=words):
            session.save(tmp_path / name)


def test_an_adapter_needs_no_second_model_and_a_full_fine_tune_loads_it_when_asked(place: Path) -> None:
    adapted, full = (load_run(place / "runs" / name) for name in ("adapted", "full"))
    session = ChatSession(adapted)
    session.mode = "both"
    session.answer("Hi")
    assert "_base_model" not in adapted.__dict__
    session = ChatSession(full)
    session.answer("Hi")
    assert session.base_is_another_model
    assert "_base_model" not in full.__dict__
    session.mode = "base"
    base_text = session.answer("Hi").answers["base"].text
    assert "_base_model" in full.__dict__
    fresh = load_run(place / "runs" / "adapted")
    messages = (
        Message("user", "Hi"),
        Message("assistant", session.turns[0].answers["tuned"].text),
        Message("user", "Hi"),
    )
    assert base_text == expected_text(fresh, *messages, use_adapter=False)


class Typed:
    """A conversation whose screen is read back line by line."""

    def __init__(self, session: ChatSession) -> None:
        self.screen = io.StringIO()
        console = Console(file=self.screen, width=80, highlight=False, markup=False, emoji=False)
        self.conversation = Conversation(session, console, console)

    def __call__(self, line: str) -> str:
        before = len(self.screen.getvalue())
        self.conversation.take(line)
        return self.screen.getvalue()[before:]


@pytest.fixture
def typed(session: ChatSession) -> Typed:
    return Typed(session)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/both", "base and tuned"),
        ("/base", "Now answering: base."),
        ("/system Be kind.", "System prompt: Be kind."),
        ("/system", "the run's own"),
        ("/temperature 0.5", "Temperature: 0.5."),
        ("/temperature warm", "'warm' is not a number"),
        ("/temperature -1", "must be 0"),
        ("/hsitory", "Did you mean /history?"),
        ("/zzz", "All commands: /help"),
        ("/reset now", "takes nothing behind it"),
        ("/save", "Say where"),
        ("/save x.txt", "nothing to save"),
        ("/history", "Nothing has been said yet."),
        ("/tokens", "Nothing has been said yet"),
        ("/tokens Hello", "tokens of prompt, 0 of answer"),
    ],
)
def test_commands_answer_in_words(typed: Typed, line: str, words: str) -> None:
    assert words in typed(line)


def test_help_names_every_command_in_80_columns(typed: Typed) -> None:
    text = typed("/help")
    assert all(f"/{name}" in text for name in COMMANDS)
    assert max(map(len, text.splitlines())) <= 80


def test_an_answer_is_shown_and_quit_ends(typed: Typed) -> None:
    assert typed("Hi").startswith("tuned: ")
    assert "you: Hi" in typed("/history")
    tokens = typed("/tokens")
    assert "|<|im_end|>|" in tokens  # no terminal, no colours: bars
    assert typed("/quit") == ""
    assert typed.conversation.is_over


def test_ctrl_c_ends_the_answer_alone(typed: Typed, session: ChatSession, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = BatchedEngine.stream

    def interrupted(self: BatchedEngine, request: Any) -> Iterator[int]:
        for token in stream(self, request):
            signal.raise_signal(signal.SIGINT)
            yield token

    monkeypatch.setattr(BatchedEngine, "stream", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert "Stopped." in typed("Hi")
    assert signal.getsignal(signal.SIGINT) is before
    (turn,) = session.turns
    assert turn.answers["tuned"].ended_by == "stopped"


def test_one_message_on_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(place / "runs" / "adapted")
    assert main(["chat", folder, "--message", "Hi", "--both", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content["answers"]) == ["base", "tuned"]
    assert main(["chat", folder, "--message", "Hi"]) == 0
    alone = capsys.readouterr()
    assert alone.out == content["answers"]["tuned"]["text"] + "\n", "nothing but the answer: it may go into a file"
    assert content["answers"]["tuned"]["ended_by"] == "length"
    assert "Cut off at the longest answer allowed" in alone.err
    assert main(["chat", folder, "--message", "Hi", "--both"]) == 0
    assert capsys.readouterr().out.startswith("base: ")
    assert main(["chat", folder, "--message", " "]) == 2
    assert "The message is empty." in capsys.readouterr().err
    assert main(["chat", folder, "--message", "Hi", "--base", "--both"]) == 2


def test_lines_from_a_pipe_are_answered(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n\n/nonsense\nAgain\n"))
    assert main(["chat", str(place / "runs" / "adapted"), "--json"]) == 0
    written = capsys.readouterr()
    assert [turn["message"] for turn in json.loads(written.out)["turns"]] == ["Hi", "Again"]
    assert "no command /nonsense" in written.err


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
