from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from luthier.errors import DataError, InputError, LuthierError, RecipeError
from luthier.evaluation.protocol import Generation
from luthier.evaluation.tasks.file_task import load_task_file
from luthier.types import Message

ROWS = [
    {"question": "Capital of France?", "answer": "Paris", "kind": "city"},
    {"question": "2 + 2?", "answer": ["4", "four"], "kind": "sum"},
]
TASK = """\
name: small
data: rows.jsonl
prompt: question
reference: answer
scorer: exact_match
slices: [kind]
max_new_tokens: 16
"""


def _write(folder: Path, task: str = TASK, rows: list[Any] | None = None, name: str = "rows.jsonl") -> Path:
    lines = [json.dumps(row) + "\n" for row in (ROWS if rows is None else rows)]
    (folder / name).write_text("".join(lines))
    path = folder / "task.yaml"
    path.write_text(task)
    return path


def test_rows_scorer_and_settings(tmp_path: Path) -> None:
    task = load_task_file(_write(tmp_path))
    rows = task.rows()
    assert (task.name, task.scorer.name, task.scorer.metric) == ("small", "exact_match", "exact_match")
    assert task.generation == Generation(16)
    assert [row.messages for row in rows] == [(Message("user", str(row["question"])),) for row in ROWS]
    assert [row.slices for row in rows] == [{"kind": "city"}, {"kind": "sum"}]
    assert len({row.id for row in rows}) == 2
    assert task.scorer.score(rows[0], "paris.").value == 1.0
    assert task.scorer.score(rows[1], "Four").value == 1.0
    assert task.few_shot() == ()


def test_system_prompt_examples_and_messages(tmp_path: Path) -> None:
    _write(tmp_path, rows=[{"question": "1 + 1?", "answer": "2"}], name="shots.jsonl")
    messages = [{"role": "system", "content": "old"}, {"role": "user", "content": "hello"}]
    task = TASK.replace("slices: [kind]", "examples: shots.jsonl\nsystem_prompt: Be brief.")
    loaded = load_task_file(_write(tmp_path, task, [{"question": messages, "answer": "hi"}]))
    assert loaded.rows()[0].messages == (Message("system", "Be brief."), Message("user", "hello"))
    assert loaded.few_shot() == (Message("user", "1 + 1?"), Message("assistant", "2"))


def test_sql_task_runs_on_the_users_database(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "my.sqlite") as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (1), (2)")
    task = (
        "name: sql\ndata: rows.jsonl\nprompt: q\nreference: sql\nscorer: {kind: sql_execution, database: my.sqlite}\n"
    )
    loaded = load_task_file(_write(tmp_path, task, [{"q": "How many?", "sql": "SELECT COUNT(*) FROM t"}]))
    assert loaded.scorer.metric == "execution_accuracy"
    assert loaded.scorer.score(loaded.rows()[0], "SELECT MAX(x) FROM t").value == 1.0
    assert loaded.scorer.score(loaded.rows()[0], "DELETE FROM t").value == 0.0
    path = _write(tmp_path, task, [{"q": "?", "sql": "SELECT 1"}, {"q": "?", "sql": "SELECT y FROM t"}])
    with pytest.raises(DataError, match=r"rows\.jsonl:2: the reference in 'sql' cannot be used: .*no such column: y"):
        load_task_file(path)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (
            TASK.replace("scorer: exact_match", "scorer: exact_mach"),
            [":5:", "exact_mach", "Did you mean 'exact_match'?"],
        ),
        (TASK.replace("prompt: question", "promt: question"), [":3:", "unknown key 'promt'", "Did you mean 'prompt'?"]),
        (TASK.replace("reference: answer\n", ""), ["reference: missing"]),
        (TASK.replace("max_new_tokens: 16", "max_new_tokens: 0"), [":7:", "at least 1"]),
        (TASK.replace("exact_match", "sql_execution"), [":5: scorer.database: missing", "SQLite file"]),
        (TASK + "database: x.sqlite\n", [":8:", "unknown key 'database'"]),
        (
            TASK.replace("exact_match", "{kind: numeric, tolerence: 1}"),
            ["scorer.tolerence", "Did you mean 'tolerance'?"],
        ),
        (TASK.replace("reference: answer", "reference: 7"), [":4:", "expected text or a mapping"]),
        (TASK.replace("prompt: question\n", ""), ["prompt: missing"]),
        (TASK + "samples: 3\ntemperature: 0\n", ["3 samples at temperature 0 are all the same"]),
        (TASK + "samples: 3\npass_at: [1, 5]\n", ["pass_at [1, 5] needs at least as many samples, but samples is 3"]),
        ("", ["It needs: name, data, prompt, reference, scorer (one of exact_match, "]),
        ("- a\n- b\n", ["is a mapping of keys"]),
        ("name: [unclosed\n", ["task.yaml:"]),
    ],
)
def test_wrong_task_files_are_explained(tmp_path: Path, task: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_task_file(_write(tmp_path, task))
    for word in words:
        assert word in str(caught.value)
    assert "the recipe" not in str(caught.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_task_file(_write(tmp_path, TASK.replace("name: small", "nam: small").replace("16", "many")))
    assert len(caught.value.problems) == 3  # unknown key, missing name, no number


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([ROWS[0], {"question": "?"}], r"rows\.jsonl:2: the task needs the column 'answer'; columns with a value here: question"),
        ([{"question": "", "answer": None, "kind": 1}], "needs the column 'answer'"),
        ([{"question": 7, "answer": "x", "kind": 1}], "must be text or a list of messages"),
        ([{"question": [{"role": "assistant", "content": "x"}], "answer": "x", "kind": 1}], "must end with the user's message"),
        ([{"question": [{"rol": "user"}], "answer": "x", "kind": 1}], r"rows\.jsonl:1: .*role"),
        ([{"question": "q", "answer": "x"}], "needs the column 'kind'"),
        ([{"question": "q", "answer": [], "kind": 1}], r"rows\.jsonl:1: the reference in 'answer' cannot be used: it is \[\]"),
    ],
)  # fmt: skip
def test_wrong_rows_are_named_with_file_and_line(tmp_path: Path, rows: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_task_file(_write(tmp_path, rows=rows))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_task_file(tmp_path / "none.yaml")
    path = _write(tmp_path)
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(LuthierError, match=r"rows\.jsonl"):
        load_task_file(path)
    sql = TASK.replace("exact_match", "{kind: sql_execution, database: none.sqlite}")
    with pytest.raises(InputError, match=r"none\.sqlite cannot be opened"):
        load_task_file(_write(tmp_path, sql))
    (tmp_path / "none.sqlite").write_text("this is no database at all, only words and words" * 10)
    with pytest.raises(InputError, match="not a database"):
        load_task_file(_write(tmp_path, sql))


def test_prompts_are_filled_from_columns(tmp_path: Path) -> None:
    task = TASK.replace("prompt: question", 'prompt: "Q: {question}\\n{tags}\\n{{done}}"').replace("[kind]", "[]")
    rows = [
        {"question": "1 + 1?", "answer": 2, "tags": ["a", "b"]},
        {"question": "2 + 2?", "answer": "4", "tags": {"x": 1}},
    ]
    loaded = load_task_file(_write(tmp_path, task, rows))
    assert loaded.rows()[0].question == "Q: 1 + 1?\na\nb\n{done}"
    assert loaded.rows()[1].question == 'Q: 2 + 2?\n{"x": 1}\n{done}'
    assert loaded.rows()[0].reference == "2"
    with pytest.raises(
        DataError, match=r"rows\.jsonl:1: the task needs the column 'tags'; columns with a value here: quest"
    ):
        load_task_file(_write(tmp_path, task, [{"question": "?", "answer": "x"}]))


def test_first_rows_as_examples_are_not_asked(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": f"a{i}", "long": f"because a{i}"} for i in range(5)]
    task = TASK.replace("slices: [kind]", "examples: 2\nanswer: long")
    loaded = load_task_file(_write(tmp_path, task, rows))
    assert [row.question for row in loaded.rows()] == ["q2", "q3", "q4"]
    assert [m.content for m in loaded.few_shot()] == ["q0", "because a0", "q1", "because a1"]
    with pytest.raises(DataError, match="has 5 rows and examples takes 5 of them, so none is left"):
        load_task_file(_write(tmp_path, task.replace("examples: 2", "examples: 5"), rows))


def test_limit_takes_the_same_rows_whatever_their_order(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": "a", "kind": str(i)} for i in range(40)] + [
        {"question": "q1", "answer": "a", "kind": "1"}
    ]
    task = TASK + "limit: 10\n"
    forwards = load_task_file(_write(tmp_path, task, rows)).rows()
    backwards = load_task_file(_write(tmp_path, task, rows[::-1])).rows()
    assert len(forwards) == 10
    assert {row.question for row in forwards} == {row.question for row in backwards}
    numbers = [int(row.question[1:]) for row in forwards]
    assert numbers == sorted(numbers)  # in the file's order
    assert max(numbers) > 20  # not simply the first


def test_references_of_several_columns(tmp_path: Path) -> None:
    task = TASK.replace("reference: answer", "reference: {choices: options, answer: gold}").replace(
        "exact_match", "multiple_choice"
    )
    row = {"question": "?", "options": ["x", "y"], "gold": "y", "kind": "1"}
    (loaded,) = load_task_file(_write(tmp_path, task, [row])).rows()
    assert loaded.reference == {"choices": ["x", "y"], "answer": "y"}
    with pytest.raises(
        DataError, match=r"rows\.jsonl:1: the reference in 'options', 'gold' cannot be used: its answer is 'z'"
    ):
        load_task_file(_write(tmp_path, task, [row | {"gold": "z"}]))


def test_labels_come_from_the_whole_file(tmp_path: Path) -> None:
    task = TASK.replace("exact_match", "classification") + 'limit: 1\nsystem_prompt: "One of: {labels}"\n'
    rows = [{"question": f"q{i}", "answer": label, "kind": "k"} for i, label in enumerate(["b", "a", "c", "a"])]
    (row,) = load_task_file(_write(tmp_path, task, rows)).rows()
    assert row.messages[0] == Message("system", "One of: a, b, c")


def test_several_samples_are_drawn(tmp_path: Path) -> None:
    loaded = load_task_file(_write(tmp_path, TASK + "samples: 5\npass_at: [1, 5]\n"))
    assert loaded.generation == Generation(16, samples=5, temperature=0.8, pass_at=(1, 5))


def test_running_text_needs_no_prompt(tmp_path: Path) -> None:
    task = "name: held-out\ndata: rows.jsonl\nreference: text\nscorer: perplexity\n"
    (row,) = load_task_file(_write(tmp_path, task, [{"text": "Some words."}])).rows()
    assert (row.messages, row.reference) == ((), "Some words.")
