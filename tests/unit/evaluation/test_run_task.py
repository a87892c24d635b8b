from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import DataError
from luthier.evaluation.contenders import Contender, three_contenders
from luthier.evaluation.protocol import TaskRow
from luthier.evaluation.result import TaskResult, save_result
from luthier.evaluation.run_task import run_task
from luthier.reporter import Silent
from luthier.runs.folder import RunFolder
from luthier.types import Message
from tests.unit.evaluation.fakes import FAKE_CONTRACT, FakeEngine, FakeTask, FakeTemplate

EXAMPLES = (Message("user", "eq"), Message("assistant", "ea"))


def _number(prompt: str) -> int:
    return int(re.findall(r"user:q(\d+)\|$", prompt)[0])


def _answer(prompt: str, use_adapter: bool) -> str | None:
    """Tuned: all but n0. Base: none, and it does not stop. With examples: the even ones."""
    number = _number(prompt)
    if use_adapter:
        return "wrong" if number == 0 else f"a{number}"
    if "eq" in prompt:
        return f"a{number}" if number % 2 == 0 else "odd?"
    return None


class _Progress(Silent):
    def __init__(self) -> None:
        self.calls: list[tuple[str, float, float]] = []

    def progress(self, name: str, done: float, total: float, detail: Any = None) -> None:
        self.calls.append((name, done, total))


def _run(task: FakeTask, engine: FakeEngine, **options: Any) -> TaskResult:
    template: Any = FakeTemplate()
    contenders = three_contenders(task, tuned=engine, base=engine)
    return run_task(task, contenders, contract=FAKE_CONTRACT, template=template, **options)


def test_three_contenders_get_the_same_question_and_settings() -> None:
    engine = FakeEngine(_answer)
    _run(FakeTask(3, EXAMPLES), engine)
    prompts = ["".join(map(chr, r.prompt_ids)) for r in engine.requests]
    assert prompts[0] == "system:S|user:q0|"
    assert prompts[3] == "system:S|user:eq|assistant:ea|user:q0|"
    assert prompts[6] == prompts[0]
    assert [r.use_adapter for r in engine.requests] == [False] * 6 + [True] * 3
    settings = {(r.max_new_tokens, r.stop_ids, r.temperature) for r in engine.requests}
    assert settings == {(7, frozenset([0]), 0.0)}


def test_scores_slices_and_stopping() -> None:
    result = _run(FakeTask(30, EXAMPLES), FakeEngine(_answer))
    assert [c.name for c in result.contenders] == ["base", "few_shot", "tuned"]
    assert result["base"].mean.mean == 0.0
    assert result["few_shot"].mean.mean == 0.5
    assert result["tuned"].mean.mean == pytest.approx(29 / 30)
    slices = result["few_shot"].by_slice()["parity"]
    assert {group: (entry["mean"], entry["num_rows"]) for group, entry in slices.items()} == {
        "even": (1, 15),
        "odd": (0, 15),
    }
    assert 0 < slices["odd"]["shrunk"] < 0.1 < 0.9 < slices["even"]["shrunk"] < 1
    assert result["base"].share_stopped == 0.0
    assert result["tuned"].share_stopped == 1.0
    first = result["tuned"].answers[0]
    assert (first.text, first.score.value, first.score.why, first.finish_reason) == ("wrong", 0.0, "other", "stop")
    assert first.num_tokens == len("wrong") + 1


def test_comparisons_are_paired_and_judged() -> None:
    result = _run(FakeTask(30, EXAMPLES), FakeEngine(_answer))
    over_base, over_examples = result.comparisons()
    assert (over_base.first, over_base.second, over_base.verdict) == ("tuned", "base", "better")
    assert over_base.difference.mean == pytest.approx(29 / 30)
    # Even rows but n0 tie, n0 is lost, odd rows are won: (15 − 1) / 30.
    assert over_examples.difference.mean == pytest.approx(14 / 30)


def test_a_task_without_examples_has_two_contenders() -> None:
    result = _run(FakeTask(30), FakeEngine(_answer))
    assert [c.name for c in result.contenders] == ["base", "tuned"]
    assert "few_shot" not in result
    assert len(result.comparisons()) == 1


def test_a_row_without_system_prompt_gets_the_examples_first() -> None:
    contender = Contender("few_shot", FakeEngine(_answer), use_adapter=False, examples=EXAMPLES)
    row = TaskRow("1", (Message("user", "q"),), "a")
    assert contender.messages(row) == (*EXAMPLES, Message("user", "q"))


def test_limit_and_progress() -> None:
    progress = _Progress()
    result = _run(FakeTask(30), FakeEngine(_answer), limit=4, reporter=progress)
    assert result.num_rows == 4
    assert progress.calls[0] == ("numbers: base model, question only", 0, 4)
    assert progress.calls[-1] == ("numbers: tuned model", 4, 4)


def test_a_task_without_rows_is_refused() -> None:
    with pytest.raises(DataError, match="'numbers' has no rows"):
        _run(FakeTask(0), FakeEngine(_answer))


def test_saved_result_reads_back(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    result = _run(FakeTask(30, EXAMPLES), FakeEngine(_answer))
    save_result(folder, result, "# numbers")
    save_result(folder, result, "# numbers, again")  # a second evaluation replaces the first
    assert (folder / "evaluation/numbers/summary.md").read_text() == "# numbers, again"
    lines = list(folder.read_lines("evaluation/numbers/rows.jsonl"))
    assert len(lines) == 90
    assert [line["contender"] for line in lines[:4]] == ["base", "few_shot", "tuned", "base"]
    assert lines[1] == {
        "id": "n0",
        "contender": "few_shot",
        "question": "q0",
        "reference": "a0",
        "prompt": "system:S|user:eq|assistant:ea|user:q0|",
        "answer": "a0",
        "score": 1.0,
        "why": "equal",
        "slices": {"parity": "even"},
        "finish_reason": "stop",
        "num_tokens": 3,
    }
    summary = folder.read_json("evaluation/numbers/summary.json")
    assert summary == json.loads(json.dumps(result.to_json()))
    assert summary["contenders"]["few_shot"]["accuracy"] == 0.5
    assert summary["contenders"]["few_shot"]["rows"] == 30
    assert summary["comparisons"][0]["difference"].keys() == {"mean", "low", "high"}
