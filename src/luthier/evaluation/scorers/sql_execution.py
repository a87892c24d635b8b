"""Right if the SQL in the answer, executed, gives the result of the reference SQL.

Finding the SQL is lenient, so that a contender is judged by its query and not by its manners: code fences, words before
and after, with or without a semicolon. Comparing is what "execution accuracy" usually means (Zhong, Yu, Klein 2020,
"Semantic Evaluation for Text-to-SQL with Distilled Test Suites"): rows as a multiset, in order only where the reference
orders them, columns in any order and under any name.

Answers are not trusted: they run under an authoriser that lets nothing but reading pass, with a budget of steps (the
same on every machine), a time limit and a limit on rows.
"""

from __future__ import annotations

import itertools
import math
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from luthier.evaluation.protocol import Score, Scorer, TaskRow

MAX_STEPS = 5_000_000
MAX_SECONDS = 5.0
MAX_ROWS = 5_000
MAX_VALUE_BYTES = 1_000_000
MAX_PERMUTED_COLUMNS = 5
RELATIVE_TOLERANCE = 1e-6

_STEPS_PER_CALL = 10_000
_ALLOWED_ACTIONS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n?(.*?)(?:```|\Z)", re.DOTALL)
_START = re.compile(r"(?<![\w(])(?:SELECT\b|WITH\s+(?:RECURSIVE\s+)?\w+\s*(?:\([^)]*\)\s*)?AS\s*\()", re.IGNORECASE)
_STRING_OR_END = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|;")
_ORDERED = re.compile(r"\bORDER\s+BY\b", re.IGNORECASE)

Row = tuple[Any, ...]


class SqlRun(NamedTuple):
    """What came of a query: rows, or in words why there are none."""

    rows: list[Row] | None
    error: str


class SqlExecution(Scorer):
    """Executes answers against a database. `row.reference` is the reference SQL.

    Args:
        open_database: Gives a new connection; called once, when the first answer is judged.
    """

    name = "sql_execution"
    metric = "execution_accuracy"

    def __init__(self, open_database: Callable[[], sqlite3.Connection]) -> None:
        self._open_database = open_database
        self._connection: sqlite3.Connection | None = None

    @property
    def _database(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = guarded(self._open_database())
        return self._connection

    def reference_problem(self, reference: Any) -> str:
        """It must be SQL that runs."""
        if not isinstance(reference, str):
            return f"it is {reference!r}; it must be one text"
        error = run_query(self._database, reference).error
        return f"it cannot be executed: {error}" if error else ""

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where the result equals the reference's."""
        reference = run_query(self._database, str(row.reference))
        if reference.rows is None:
            return Score(0.0, f"the reference SQL does not run: {reference.error}")
        query = find_query(answer, self._database)
        if query is None:
            return Score(0.0, "the answer holds no SELECT")
        result = run_query(self._database, query)
        if result.rows is None:
            return Score(0.0, result.error)
        ordered = _ORDERED.search(_without_brackets(str(row.reference))) is not None
        difference = compare_results(reference.rows, result.rows, ordered=ordered)
        return Score(0.0, difference) if difference else Score(1.0, "same result as the reference")


def guarded(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The connection, from now on unable to do anything but read."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.set_authorizer(_authorise)
    return connection


def _authorise(action: int, _first: str | None, second: str | None, _database: str | None, _trigger: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() == "load_extension":
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED_ACTIONS else sqlite3.SQLITE_DENY


def run_query(connection: sqlite3.Connection, sql: str) -> SqlRun:
    """Execute one query within the limits; never raises on what the SQL may be."""
    deadline = time.monotonic() + MAX_SECONDS
    calls = itertools.count(1)

    def over_budget() -> bool:
        return next(calls) * _STEPS_PER_CALL > MAX_STEPS or time.monotonic() > deadline

    connection.set_progress_handler(over_budget, _STEPS_PER_CALL)
    try:
        cursor = connection.execute(sql)
        rows = cursor.fetchmany(MAX_ROWS + 1)
        cursor.close()
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        if "interrupted" in str(error):
            return SqlRun(None, "the query was stopped: it takes too long")
        return SqlRun(None, f"the query fails: {error}")
    finally:
        connection.set_progress_handler(None, 0)
    if len(rows) > MAX_ROWS:
        return SqlRun(None, f"the query returns more than {MAX_ROWS} rows")
    return SqlRun(rows, "")


def find_query(answer: str, connection: sqlite3.Connection) -> str | None:
    """The query in an answer: the first candidate that SQLite can compile, else the first candidate, else None."""
    first = None
    for candidate in _candidates(answer):
        first = candidate if first is None else first
        if _compiles(candidate, connection):
            return candidate
    return first


def _candidates(answer: str) -> Iterator[str]:
    """What may be meant, most likely first: fenced code before loose text, the whole before its first lines."""
    for text in [*_FENCE.findall(answer), answer]:
        for match in _START.finditer(text):
            whole = _up_to_semicolon(text[match.start() :]).strip()
            lines = whole.splitlines()
            for count in range(len(lines), 0, -1):
                yield "\n".join(lines[:count])


def _up_to_semicolon(text: str) -> str:
    """`text` up to the first semicolon or fence that does not stand in quotes."""
    end = next((m.start() for m in _STRING_OR_END.finditer(text) if m.group() == ";"), len(text))
    return text[:end].split("```")[0]


def _compiles(sql: str, connection: sqlite3.Connection) -> bool:
    return run_query(connection, f"EXPLAIN {sql}").rows is not None


def _without_brackets(sql: str) -> str:
    """`sql` without strings and without what stands in brackets, so that only the outer ORDER BY is seen."""
    flat = re.sub(r"'(?:[^']|'')*'", "''", sql)
    while (shorter := re.sub(r"\([^()]*\)", "", flat)) != flat:
        flat = shorter
    return flat


def compare_results(reference: Sequence[Row], result: Sequence[Row], *, ordered: bool) -> str:
    """How `result` differs from `reference`, in words; empty where it does not."""
    if len(reference) != len(result):
        return f"{len(result)} rows instead of {len(reference)}"
    if not reference:
        return ""
    num_columns = len(reference[0])
    if len(result[0]) != num_columns:
        return f"{len(result[0])} columns instead of {num_columns}"
    arrangements = (
        itertools.permutations(range(num_columns))
        if num_columns <= MAX_PERMUTED_COLUMNS
        else [tuple(range(num_columns))]
    )
    for columns in arrangements:
        if _same_rows(reference, [tuple(row[c] for c in columns) for row in result], ordered=ordered):
            return ""
    if ordered and not compare_results(reference, result, ordered=False):
        return "the right rows in another order"
    return "other values"


def _same_rows(reference: Sequence[Row], result: Sequence[Row], *, ordered: bool) -> bool:
    if not ordered:
        reference, result = sorted(reference, key=_sort_key), sorted(result, key=_sort_key)
    return all(
        _same_value(a, b)
        for left, right in zip(reference, result, strict=True)
        for a, b in zip(left, right, strict=True)
    )


def _same_value(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-9)
    return type(a) is type(b) and a == b


def _sort_key(row: Row) -> tuple[tuple[int, Any], ...]:
    """Orders values of all SQLite types; numbers that are equal within the tolerance get one key (nearly always)."""
    return tuple(_typed(value) for value in row)


def _typed(value: Any) -> tuple[int, Any]:
    if value is None:
        return (0, 0)
    if isinstance(value, int | float):
        return (1, float(f"{value:.5g}") if math.isfinite(value) else value)
    return (2, value) if isinstance(value, str) else (3, bytes(value))
