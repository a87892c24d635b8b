"""Several samples, several turns, and tasks that measure instead of generating; with a model that answers from a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from luthier.evaluation import run_task as module
from luthier.evaluation.contenders import Contender
from luthier.evaluation.likelihood import Continuation
from luthier.evaluation.markdown import task_markdown
from luthier.evaluation.protocol import Generation, Likelihood, TaskRow
from luthier.evaluation.result import TaskResult
from luthier.evaluation.run_task import bare_prompt, run_task
from luthier.evaluation.scorers.answered import Answered
from luthier.evaluation.scorers.multiple_choice import MultipleChoice
from luthier.evaluation.scorers.perplexity import Perplexity
from luthier.types import Message
from tests.unit.evaluation.fakes import FAKE_CONTRACT, FakeEngine, FakeTask, FakeTemplate


def _run(task: FakeTask, contenders: Sequence[Contender]) -> TaskResult:
    template: Any = FakeTemplate()
    return run_task(task, contenders, contract=FAKE_CONTRACT, template=template)


def test_several_samples_are_drawn_with_seeds_of_their_own() -> None:
    task = FakeTask(3)
    task.generation = Generation(7, samples=4, temperature=0.5, top_p=0.8, pass_at=(1, 4), seed=100)
    engine = FakeEngine(lambda prompt, _: "a" + prompt.rsplit("q", 1)[1][0])
    count = 0

    def answer(prompt: str, use_adapter: bool) -> str:
        nonlocal count
        count += 1
        return f"a{prompt.rsplit('q', 1)[1][0]}" if count % 4 == 1 else ""

    engine.answer_to = answer
    result = _run(task, [Contender("base", engine, use_adapter=False)])
    assert [r.seed for r in engine.requests] == list(range(100, 112))
    assert {(r.temperature, r.top_p) for r in engine.requests} == {(0.5, 0.8)}
    (first, *_) = result["base"].answers
    assert first.score.value == 0.25
    assert first.score.measures == {"pass@1": 0.25, "pass@4": 1.0}
    assert [sample.text for sample in first.samples] == ["a0", "", "", ""]
    assert result["base"].measures["pass@4"].mean == 1.0
    assert first.to_json()["samples"][1] == {"text": "", "score": 0.0, "why": "other"}


class _Turns(FakeTask):
    def rows(self) -> list[TaskRow]:
        first, second = super().rows()[:2]
        return [replace(first, follow_ups=("shorter", "again")), second]


def test_follow_ups_are_asked_after_the_models_own_answers() -> None:
    task = _Turns()
    task.scorer = Answered()
    engine = FakeEngine(lambda prompt, _: f"<{prompt.count('user:')}>")
    result = _run(task, [Contender("base", engine, use_adapter=False)])
    prompts = ["".join(map(chr, r.prompt_ids)) for r in engine.requests]
    assert prompts == [
        "system:S|user:q0|",
        "system:S|user:q1|",
        "system:S|user:q0|assistant:<1>|user:shorter|",
        "system:S|user:q0|assistant:<1>|user:shorter|assistant:<2>|user:again|",
    ]
    long, short = result["base"].answers
    assert (long.turns, long.text, short.text) == (("<1>", "<2>", "<3>"), "<1>\n\n<2>\n\n<3>", "<1>")
    assert long.to_json()["turns"] == ["<1>", "<2>", "<3>"]
    assert long.to_json()["question"] == "q0\n\nshorter\n\nagain"
    assert long.num_tokens == 12
    assert "turns" not in short.to_json()


def test_empty_answers_count_and_are_told() -> None:
    engine = FakeEngine(lambda prompt, _: " " if "q1" in prompt else "a0")
    result = _run(
        FakeTask(25), [Contender("base", engine, use_adapter=False), Contender("tuned", engine, use_adapter=True)]
    )
    assert result["base"].num_empty == 11  # q1 and q10 to q19
    assert result.to_json()["contenders"]["base"]["num_empty"] == 11
    assert len(result["base"].scores) == 25
    assert "base model, question only: 11 empty answers." in task_markdown(result)


class _Table:
    """Measures texts by a table: more probable with the adapter."""

    def measure(
        self, texts: Sequence[Continuation], *, use_adapter: bool = True, on_progress: Any = None
    ) -> list[Likelihood]:
        on_progress(len(texts))
        bonus = 10.0 if use_adapter else 0.0
        return [
            Likelihood(t.text, (bonus if t.text.endswith("right") else 0.0) - len(t.text), len(t.ids), t.num_bytes)
            for t in texts
        ]


def _contenders() -> list[Contender]:
    table: Any = _Table()
    nobody = FakeEngine(lambda *_: pytest.fail("nothing is to be generated"))
    return [
        Contender("base", nobody, use_adapter=False, likelihood=table),
        Contender("tuned", nobody, use_adapter=True, likelihood=table),
    ]


class _Choices(FakeTask):
    def rows(self) -> list[TaskRow]:
        return [replace(row, reference={"choices": ["wrong", "the right"], "answer": 1}) for row in super().rows()]


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def tokens(_: Any, before: Any, text: str) -> Continuation:
        return Continuation((1,), tuple(map(ord, text)), text, len(text.encode()))

    monkeypatch.setattr(module, "as_answer", tokens)
    monkeypatch.setattr(module, "as_text", tokens)


@pytest.mark.usefixtures("as_it_is")
def test_multiple_choice_generates_nothing() -> None:
    task = _Choices(25)
    task.scorer = MultipleChoice()
    result = _run(task, _contenders())
    assert (result["base"].mean.mean, result["tuned"].mean.mean) == (0.0, 1.0)  # −5 beats −9, −5 loses to +1
    assert result["base"].share_stopped is None
    content = result.to_json()["contenders"]["base"]
    assert "share_stopped" not in content
    assert "num_empty" not in content
    assert content["measures"]["acc_norm"]["mean"] == 0.0  # −5/5 = −1 and −9/9 = −1: the first of equals
    line = result["tuned"].answers[0].to_json()
    assert (line["answer"], line["finish_reason"]) == ("the right", None)


class _Texts(FakeTask):
    def rows(self) -> list[TaskRow]:
        return [TaskRow(f"t{i}", (), "x" * (i + 1) + "right") for i in range(30)]


@pytest.mark.usefixtures("as_it_is")
def test_bits_per_byte_of_all_texts_together() -> None:
    task = _Texts()
    task.scorer = Perplexity()
    result = _run(task, _contenders())
    num_bytes = sum(len(row.reference) for row in task.rows())
    assert result["base"].mean.mean == pytest.approx(1 / 0.6931471805599453)  # a nat for each byte
    assert result["tuned"].mean.mean == pytest.approx((num_bytes - 300) / num_bytes / 0.6931471805599453)
    assert result.lower_is_better
    assert result.comparisons()[0].verdict == "better"
    assert result["base"].figures["perplexity"] == pytest.approx(2.718281828459045)
    assert result["base"].answers[3].to_json()["weight"] == 9.0
    text = task_markdown(result)
    assert "points" not in text
    assert "None: no row that the base model answers better." in text


def test_bare_prompts() -> None:
    example = (Message("user", "1 + 1 ="), Message("assistant", "2"))
    assert (
        bare_prompt((Message("system", "Sums."), *example, Message("user", "2 + 2 =")))
        == "Sums.\n\n1 + 1 = 2\n\n2 + 2 ="
    )
    assert bare_prompt(()) == ""
