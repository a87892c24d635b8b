from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import DataError
from luthier.evaluation.scorers.code import Code
from luthier.evaluation.scorers.numeric import find_number
from luthier.evaluation.tasks.file_task import FileTask, load_layout, load_task_file


def _load(folder: Path, layout: str, rows: list[dict[str, Any]]) -> FileTask:
    path = folder / f"{layout}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_layout(layout, path)


def _score(task: FileTask, number: int, answer: str) -> float:
    assert not isinstance(task.scorer, type(None))
    scorer: Any = task.scorer
    return scorer.score(task.rows()[number], answer).value


def test_gsm8k(tmp_path: Path) -> None:
    rows = [
        {"question": f"q{i}", "answer": f"{i} + 1,000 = <<{i}+1000={i + 1000}>>\n#### {i + 1000:,}"} for i in range(6)
    ]
    task = _load(tmp_path, "gsm8k", rows)
    assert (task.name, task.scorer.metric, len(task.rows()), len(task.few_shot())) == ("gsm8k", "accuracy", 2, 8)
    assert _score(task, 0, "So it is 1004 in all.") == 1.0
    assert _score(task, 0, "4 + 1000 = 1005") == 0.0


def test_mbpp(tmp_path: Path) -> None:
    row = {"text": "Double a number.", "code": "def double(x):\r\n  return 2 * x", "test_list": ["assert double(2) == 4"],
           "test_setup_code": ""}  # fmt: skip
    task = _load(tmp_path, "mbpp", [row] * 4)
    assert task.rows()[0].question == (
        "Double a number.\n\nYour code should pass these tests:\n\nassert double(2) == 4"
    )
    assert task.few_shot()[1].content == f"```python\n{row['code']}\n```"
    assert _score(task, 0, task.few_shot()[1].content) == 1.0
    assert _score(task, 0, "def double(x): return x") == 0.0


def test_banking77(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text("text,category\nWhere is my card?,card_arrival\nI lost it,lost_card\n")
    task = load_layout("banking77", path)
    assert task.rows()[0].messages[0].content.endswith("nothing else: card_arrival, lost_card")
    assert _score(task, 0, "Card arrival") == 1.0
    assert task.rows()[1].slices == {"category": "lost_card"}


def test_wikisql_in_both_spellings(tmp_path: Path) -> None:
    text = "table: 1-1\ncolumns: A, B\nQ: Which A?\nA: SELECT A FROM 1-1 WHERE B = 'x'"
    task = _load(
        tmp_path, "wikisql", [{"text": text}] * 4 + [{"question": "Which?", "sql": "SELECT  a"}] + [{"text": text}]
    )
    assert task.rows()[1].question == "table: 1-1\ncolumns: A, B\nQ: Which A?"
    assert _score(task, 0, "select a") == 1.0
    assert _score(task, 1, "SELECT A FROM 1-1 WHERE B > 'x'") == 0.0
    with pytest.raises(DataError, match=r"wikisql\.jsonl:1: the layout wikisql has"):
        _load(tmp_path, "wikisql", [{"text": "no answer"}])


def test_mt_bench_asks_turn_by_turn(tmp_path: Path) -> None:
    task = _load(tmp_path, "mt_bench", [{"question_id": 1, "category": "writing", "turns": ["Write.", "Shorter."]}])
    (row,) = task.rows()
    assert (row.messages[0].content, row.follow_ups, row.slices) == ("Write.", ("Shorter.",), {"category": "writing"})
    with pytest.raises(DataError, match="'turns', a list of questions"):
        _load(tmp_path, "mt_bench", [{"turns": "Write."}])


def test_what_is_said_beside_a_layout_counts(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "#### 3"}\n' * 3)
    (tmp_path / "task.yaml").write_text("layout: gsm8k\nname: mine\ndata: rows.jsonl\nexamples: 1\nmax_new_tokens: 9\n")
    task = load_task_file(tmp_path / "task.yaml")
    assert (task.name, len(task.rows()), task.generation.max_new_tokens) == ("mine", 2, 9)


def test_all_reference_answers_of_gsm8k_are_read(shared_data: Path) -> None:
    """The number behind ####, without separators, is what GSM8K's own evaluation compares."""
    lines = (shared_data / "tasks/gsm8k/train.jsonl").read_text().splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert len(answers) == 7473
    for answer in answers:
        found = find_number(answer)
        assert found is not None, answer
        assert found.value == float(answer.split("####")[1].replace(",", "").strip()), answer


def test_the_local_data_sets_load(shared_data: Path) -> None:
    tasks = shared_data / "tasks"
    files = {
        "gsm8k": tasks / "gsm8k/train.jsonl",
        "mbpp": tasks / "mbpp/mbpp.jsonl",
        "banking77": tasks / "banking77/train.csv",
        "wikisql": tasks / "text2sql_mlx_wikisql/valid.jsonl",
        "mt_bench": tasks / "mt_bench/question.jsonl",
    }
    sizes = {layout: len(load_layout(layout, file).rows()) for layout, file in files.items()}
    assert sizes["gsm8k"] == 7473 - 4
    assert sizes["mbpp"] == 974 - 3
    assert sizes["banking77"] == 10003
    assert sizes["mt_bench"] == 80
    assert sizes["wikisql"] > 90


def test_reference_code_of_mbpp_passes_its_tests(shared_data: Path) -> None:
    task = load_layout("mbpp", shared_data / "tasks/mbpp/mbpp.jsonl")
    codes = [json.loads(line)["code"] for line in (shared_data / "tasks/mbpp/mbpp.jsonl").read_text().splitlines()][3:]
    assert isinstance(task.scorer, Code)
    for number in range(0, 60, 12):
        score = task.scorer.score(task.rows()[number], f"Here you are:\n```python\n{codes[number]}\n```")
        assert score.value == 1.0, (task.rows()[number].id, score.why)
