from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from luthier.evaluation.protocol import Score, TaskRow
from luthier.evaluation.scorers import sql_execution
from luthier.evaluation.scorers.sql_execution import SqlExecution, compare_results, find_query, guarded
from luthier.types import Message


def _open() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        """
        CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT, kind TEXT, age REAL);
        INSERT INTO pets VALUES (1, 'Ada', 'cat', 3.5), (2, 'Bo', 'dog', 7), (3, 'Cy', 'cat', 1.25), (4, 'Di', 'dog', 7);
        CREATE TABLE big (n INTEGER);
        WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000) INSERT INTO big SELECT x FROM c;
        """
    )
    connection.commit()
    return connection


@pytest.fixture(scope="module")
def scorer() -> SqlExecution:
    return SqlExecution(_open)


def judge(scorer: SqlExecution, reference: str, answer: str) -> Score:
    return scorer.score(TaskRow("1", (Message("user", "?"),), reference), answer)


CATS = "SELECT name FROM pets WHERE kind = 'cat'"


@pytest.mark.parametrize(
    "answer",
    [
        CATS,
        CATS + ";",
        f"```sql\n{CATS};\n```",
        f"```\n{CATS}\n```",
        f"```sql\n{CATS}",  # the fence was cut off
        f"Sure, here is the query:\n\n{CATS};\n\nIt selects the cats.",
        f"The SQL is: {CATS}\n\nThis gives the names.",
        "select name as animal from pets\nwhere kind like 'CAT'",
        "SELECT p.name FROM pets AS p JOIN pets q ON p.id = q.id WHERE p.kind = 'cat' ORDER BY p.name DESC",
        "WITH cats AS (SELECT * FROM pets WHERE kind = 'cat') SELECT name FROM cats",
        "You can select it like this: " + CATS,
        f"{CATS}; DROP TABLE pets;",
    ],
)
def test_right_however_it_is_written(scorer: SqlExecution, answer: str) -> None:
    score = judge(scorer, CATS, answer)
    assert score.value == 1.0, score


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "holds no SELECT"),
        ("I do not know.", "holds no SELECT"),
        ("SELECT", "fails"),
        ("SELECT nome FROM pets", "no such column: nome"),
        ("SELECT name FROM cats", "no such table: cats"),
        ("SELECT name FROM pets", "4 rows instead of 2"),
        ("SELECT name, kind FROM pets WHERE kind = 'cat'", "2 columns instead of 1"),
        ("SELECT name FROM pets WHERE kind = 'dog'", "other values"),
        ("SELECT 1 \x00", "fails"),
        ("SELECT '\ud800'", "fails"),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "fails"),
    ],
)
def test_wrong_with_the_reason(scorer: SqlExecution, answer: str, why: str) -> None:
    score = judge(scorer, CATS, answer)
    assert score.value == 0.0
    assert why in score.why


@pytest.mark.parametrize(
    "attempt",
    [
        "INSERT INTO pets VALUES (9, 'X', 'cat', 1)",
        "DELETE FROM pets",
        "DROP TABLE pets",
        "UPDATE pets SET kind = 'cat'",
        "CREATE TABLE t (x)",
        "ATTACH DATABASE '/tmp/other.sqlite' AS other",
        "PRAGMA writable_schema = 1",
        "VACUUM INTO '/tmp/copy.sqlite'",
        "BEGIN; DELETE FROM pets; COMMIT",
        "WITH doomed AS (SELECT 1) DELETE FROM pets",
        "SELECT load_extension('evil')",
        "SELECT name FROM pets WHERE kind = 'cat' UNION SELECT name FROM pragma_database_list",
    ],
)
def test_nothing_but_reading_passes(attempt: str) -> None:
    connection = _open()
    before = list(connection.iterdump())
    scorer = SqlExecution(lambda: connection)
    assert judge(scorer, CATS, attempt).value == 0.0
    with pytest.raises(sqlite3.DatabaseError, match=r"not authorized|denied|prohibited|one statement|syntax"):
        connection.execute(attempt)
    connection.set_authorizer(None)
    assert list(connection.iterdump()) == before


def test_a_file_database_stays_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "pets.sqlite"
    with sqlite3.connect(path) as connection:
        _open().backup(connection)
    connection.close()
    before = path.read_bytes()
    scorer = SqlExecution(lambda: sqlite3.connect(path))
    for attempt in ("DELETE FROM pets", CATS, "SELECT 1; DROP TABLE pets"):
        judge(scorer, CATS, attempt)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "endless",
    [
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c",
        "SELECT COUNT(*) FROM big a, big b, big c",
        "SELECT a.n FROM big a, big b, big c ORDER BY a.n + b.n + c.n",
    ],
)
def test_endless_queries_are_stopped_by_steps(scorer: SqlExecution, endless: str) -> None:
    began = time.monotonic()
    score = judge(scorer, CATS, endless)
    assert score.value == 0.0
    assert "too long" in score.why
    assert time.monotonic() - began < sql_execution.MAX_SECONDS
    assert judge(scorer, CATS, CATS).value == 1.0  # the connection still works


def test_too_many_rows_and_too_large_values(scorer: SqlExecution) -> None:
    assert "more than 5000 rows" in judge(scorer, CATS, "SELECT a.n FROM big a, big b").why
    assert judge(scorer, CATS, "SELECT zeroblob(1000000000)").value == 0.0
    assert judge(scorer, CATS, "SELECT replace(hex(zeroblob(400000)), '0', 'aaaaaaaa')").value == 0.0


def test_order_counts_only_where_the_reference_orders(scorer: SqlExecution) -> None:
    ordered = "SELECT name FROM pets ORDER BY age DESC, name"
    assert judge(scorer, ordered, "SELECT name FROM pets ORDER BY age DESC, name ASC").value == 1.0
    assert "another order" in judge(scorer, ordered, "SELECT name FROM pets ORDER BY age, name").why
    inner = "SELECT name FROM (SELECT name FROM pets ORDER BY age)"
    assert judge(scorer, inner, "SELECT name FROM pets ORDER BY name DESC").value == 1.0
    quoted = "SELECT name FROM pets WHERE name <> 'order by'"
    assert judge(scorer, quoted, "SELECT name FROM pets ORDER BY name DESC").value == 1.0


def test_columns_in_any_order_under_any_name(scorer: SqlExecution) -> None:
    per_kind = "SELECT kind, COUNT(*) FROM pets GROUP BY kind"
    assert judge(scorer, per_kind, "SELECT COUNT(id) AS n, kind AS k FROM pets GROUP BY 2").value == 1.0


def test_columns_are_exchanged_as_a_whole() -> None:
    assert compare_results([(1, 2), (3, 4)], [(2, 1), (4, 3)], ordered=False) == ""
    assert compare_results([(1, 2), (3, 4)], [(2, 1), (3, 4)], ordered=False) == "other values"


def test_rows_are_a_multiset() -> None:
    assert compare_results([("a",), ("a",), ("b",)], [("b",), ("a",), ("a",)], ordered=False) == ""
    assert compare_results([("a",), ("a",), ("b",)], [("b",), ("b",), ("a",)], ordered=False) == "other values"


def test_numbers_within_the_tolerance_and_no_further() -> None:
    assert compare_results([(0.1 + 0.2,)], [(0.3,)], ordered=False) == ""
    assert compare_results([(4,)], [(4.0,)], ordered=False) == ""
    assert compare_results([(1000.0,)], [(1000.1,)], ordered=False) == "other values"
    assert compare_results([("4",)], [(4,)], ordered=False) == "other values"
    assert compare_results([(None,)], [(0,)], ordered=False) == "other values"


def test_values_of_all_types_can_be_sorted() -> None:
    rows = [(None,), (2,), ("x",), (b"y",), (1.5,)]
    assert compare_results(rows, rows[::-1], ordered=False) == ""


def test_empty_results_are_equal(scorer: SqlExecution) -> None:
    assert judge(scorer, "SELECT name FROM pets WHERE age > 99", "SELECT id, age FROM pets WHERE age > 50").value == 1.0


def test_a_semicolon_in_quotes_does_not_end_the_query() -> None:
    connection = guarded(_open())
    assert find_query("SELECT ';' AS a FROM pets; and so on", connection) == "SELECT ';' AS a FROM pets"


def test_a_broken_reference_is_named(scorer: SqlExecution) -> None:
    assert "reference" in judge(scorer, "SELECT absent", CATS).why
    assert scorer.reference_problem(CATS) == ""
    assert "no such column" in scorer.reference_problem("SELECT absent")
