"""Wrong answers of the demo are wrong in the database, and look like right ones; every generated name can be read."""

from __future__ import annotations

import sqlite3

from luthier.data.sources import read_rows
from luthier.demo.database import build_database
from luthier.demo.preferences import labelled_rows, preference_rows, text_rows


def results(connection: sqlite3.Connection, sql: str) -> list[tuple[object, ...]]:
    return sorted(connection.execute(sql).fetchall(), key=repr)


def test_the_rejected_query_runs_and_hardly_ever_gives_the_right_result() -> None:
    connection = build_database()
    rows = preference_rows(120)
    equal = 0
    for row in rows:
        (chosen,), (rejected,) = row["chosen"], row["rejected"]
        assert chosen["content"] != rejected["content"]
        equal += results(connection, chosen["content"]) == results(connection, rejected["content"])
    assert equal <= 0.05 * len(rows)


def test_labels_are_true_for_the_right_query() -> None:
    pairs, labelled = preference_rows(40), labelled_rows(40)
    assert [row["label"] for row in labelled] == [True, False] * 20
    for pair, row in zip(pairs, labelled, strict=True):
        assert row["prompt"] == pair["prompt"]
        assert row["completion"] == pair["chosen" if row["label"] else "rejected"]


def test_pages_hold_each_question_once() -> None:
    pages = [row["text"] for row in text_rows(20)]
    assert len(pages) == 3
    for row in preference_rows(20):
        question = row["prompt"][1]["content"]
        assert sum(f"{question}\n{row['chosen'][0]['content']};" in page for page in pages) == 1


def test_they_are_read_by_name() -> None:
    columns = {
        "demo:shop-sql-pairs": {"prompt", "chosen", "rejected"},
        "demo:shop-sql-labelled": {"prompt", "completion", "label"},
        "demo:shop-sql-text": {"text"},
    }
    for name, expected in columns.items():
        rows = list(read_rows(name))
        assert len(rows) >= 64
        assert set(rows[0].value) == expected
