"""A model behind an endpoint as a contender of a task: same questions, paid once, silence and refusals told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from luthier.errors import EndpointError
from luthier.evaluation.asked import SilenceCounts
from luthier.evaluation.contenders import Contender
from luthier.evaluation.result import TaskResult
from luthier.evaluation.run_task import run_task
from luthier.generate.endpoint import Endpoint
from luthier.generate.journal import Journal, Journalled
from luthier.reporter import Silent
from tests.fake_openai import Asked, FakeOpenAI, Mood, fake_openai
from tests.unit.evaluation.fakes import FAKE_CONTRACT, FakeEngine, FakeTask, FakeTemplate


class _Told(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str, level: Any = "info") -> None:
        self.said.append(message)


def _run(server: FakeOpenAI, journal: Path, told: _Told | None = None, num_rows: int = 30) -> TaskResult:
    template: Any = FakeTemplate()
    book = Journal(journal)
    endpoint = Endpoint(server.url, "gpt", retries=0, parallel=1)
    chat = Journalled(SilenceCounts(endpoint, f"gpt@{server.url}"), book)
    engine = FakeEngine(lambda prompt, _: "a" + prompt.rsplit("q", 1)[1].rstrip("|"))
    contenders = [
        Contender("tuned", engine, use_adapter=True),
        Contender("gpt", None, use_adapter=False, chat=chat),
    ]
    FAKE_CONTRACT.system_prompt = "of the run"
    try:
        return run_task(
            FakeTask(num_rows), contenders, contract=FAKE_CONTRACT, template=template, reporter=told or Silent()
        )
    finally:
        del FAKE_CONTRACT.system_prompt
        book.close()


def test_it_is_asked_the_same_once_and_compared_row_by_row(tmp_path: Path) -> None:
    with fake_openai(lambda asked: Mood(f"a{asked.said[1:]}" if int(asked.said[1:]) % 2 else "no")) as server:
        result = _run(server, tmp_path / "j.jsonl")
        assert server.asked[0].body["messages"][0] == {"role": "system", "content": "S"}
        assert {(a.body["max_tokens"], a.body["temperature"], a.body["seed"]) for a in server.asked} == {(7, 0.0, 0)}
        assert len(server.asked) == 30
        assert result["gpt"].mean.mean == 0.5
        (comparison,) = result.comparisons()
        assert (comparison.first, comparison.second, comparison.verdict) == ("tuned", "gpt", "better")
        assert result["gpt"].answers[0].num_tokens == 5  # as the server counts
        assert result["gpt"].to_json("accuracy")["title"] == "gpt"
        again = _run(server, tmp_path / "j.jsonl")
        assert len(server.asked) == 30
        assert [a.text for a in again["gpt"].answers] == [a.text for a in result["gpt"].answers]


def test_silence_is_an_answer_that_is_kept_and_a_refused_question_is_told(tmp_path: Path) -> None:
    def reply(asked: Asked) -> Mood:
        if asked.said == "q3":
            return Mood("filtered", status=400)
        return Mood("" if asked.said == "q4" else "x")

    told = _Told()
    with fake_openai(reply) as server:
        result = _run(server, tmp_path / "j.jsonl", told)
        assert result["gpt"].num_empty == 2
        (words,) = [said for said in told.said if "unanswered" in said]
        assert words.startswith("numbers: gpt left 1 of 30 questions unanswered")
        assert "answered 400: filtered" in words
        _run(server, tmp_path / "j.jsonl", told)
        assert [a.said for a in server.asked[30:]] == ["q3"]


def test_a_server_that_goes_down_ends_it_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    with fake_openai(lambda asked: Mood("x") if asked.number <= 10 else Mood(status=503)) as server:
        with pytest.raises(EndpointError, match="5 questions in a row failed"):
            _run(server, tmp_path / "j.jsonl")
        server._reply = lambda _: Mood("x")
        _run(server, tmp_path / "j.jsonl")
        assert set(server.answered.values()) == {1}
        assert len(server.answered) == 30


def test_rows_without_a_system_prompt_get_that_of_the_run(tmp_path: Path) -> None:
    from luthier.evaluation.asked import ask_all
    from luthier.evaluation.protocol import Generation
    from luthier.types import Message

    with fake_openai(lambda _: Mood("x")) as server:
        chat = Endpoint(server.url, "gpt")
        ask_all(chat, [([Message("user", "q")], 5)], Generation(9, temperature=0.5), "of the run", lambda _: None)
    (asked,) = server.asked
    assert asked.body["messages"] == [{"role": "system", "content": "of the run"}, {"role": "user", "content": "q"}]
    assert (asked.body["seed"], asked.body["temperature"]) == (5, 0.5)


def test_adapters_of_one_engine_answer_in_one_batch() -> None:
    class Counted(FakeEngine):
        num_calls = 0

        def generate(self, requests: Any, on_progress: Any = None) -> Any:
            self.num_calls += 1
            return super().generate(requests, on_progress)

    engine = Counted(lambda _, use_adapter: "x" if use_adapter else "y")
    contenders = [
        Contender("base", engine, use_adapter=False),
        Contender("tuned", engine, use_adapter=True),
        Contender("other", engine, use_adapter=True, adapter="second"),
    ]
    template: Any = FakeTemplate()
    result = run_task(FakeTask(25), contenders, contract=FAKE_CONTRACT, template=template)
    assert engine.num_calls == 2
    assert [r.adapter for r in engine.requests] == [None] * 50 + ["second"] * 25
    assert [c.name for c in result.contenders] == ["base", "tuned", "other"]
    assert {len(c.answers) for c in result.contenders} == {25}
    assert [(c.first, c.second) for c in result.comparisons()] == [("tuned", "base"), ("tuned", "other")]
