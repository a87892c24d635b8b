"""A task of the user's own: a short YAML file beside the data.

name: tickets
data: tickets.jsonl            # jsonl, json, csv or parquet; relative paths start at this file's folder
prompt: question               # column with the question, or with messages in the OpenAI format
reference: answer              # column with the right answer
scorer: exact_match            # or sql_execution, which needs `database:`
system_prompt: Answer briefly. # optional, as all that follows
examples: examples.jsonl       # rows with the same columns, shown to the base model as worked examples
slices: [kind]                 # columns by whose values the result is broken down
max_new_tokens: 64
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from luthier.config.problems import explain
from luthier.config.section import Section
from luthier.config.yaml_source import SourceText, read_yaml
from luthier.data.messages import BadRowError, messages_from_openai
from luthier.data.sources import Row, read_rows
from luthier.errors import DataError, InputError, RecipeError
from luthier.evaluation.protocol import Scorer, TaskRow
from luthier.evaluation.scorers.exact_match import ExactMatch
from luthier.evaluation.scorers.sql_execution import SqlExecution
from luthier.types import Message

METRICS = {"exact_match": "exact_match", "sql_execution": "execution_accuracy"}


class TaskFile(Section):
    """What a task file says."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the task; names a folder too, so: letters, digits, dot, dash, underscore."""

    data: str
    """File with the questions."""

    prompt: str
    """Column with the question as text, or with a list of messages."""

    reference: str
    """Column with the right answer: text, or a list of texts of which any is right."""

    scorer: Literal["exact_match", "sql_execution"]
    """How answers are judged."""

    database: str | None = None
    """SQLite file that sql_execution runs the queries on; it is opened read-only."""

    system_prompt: str | None = None
    """System message for all questions. Without: the rows' own, else the run's."""

    examples: str | None = None
    """File with worked examples for the base model."""

    slices: tuple[str, ...] = ()
    """Columns whose values name groups of rows."""

    max_new_tokens: int = Field(default=128, ge=1)
    """Longest answer, in tokens."""

    @model_validator(mode="after")
    def _sql_needs_a_database(self) -> TaskFile:
        if self.scorer == "sql_execution" and self.database is None:
            raise ValueError("scorer sql_execution executes queries, so it needs a SQLite file: database: shop.sqlite")
        if self.scorer != "sql_execution" and self.database is not None:
            raise ValueError(f"database is only used by the scorer sql_execution, but scorer is {self.scorer}")
        return self


class FileTask:
    """Questions from a data file. Make it with `load_task_file`."""

    def __init__(
        self, settings: TaskFile, scorer: Scorer, rows: Sequence[TaskRow], examples: Sequence[Message] = ()
    ) -> None:
        self.name = settings.name
        self.metric = METRICS[settings.scorer]
        self.max_new_tokens = settings.max_new_tokens
        self.scorer = scorer
        self._rows, self._examples = tuple(rows), tuple(examples)

    def rows(self) -> Sequence[TaskRow]:
        """The questions, in the order of the file."""
        return self._rows

    def few_shot(self) -> Sequence[Message]:
        """The worked examples."""
        return self._examples


def load_task_file(path: Path) -> FileTask:
    """Read a task file, its data, and its examples.

    Raises:
        RecipeError: The file is missing or wrong; every problem with its line.
        DataError: The data cannot be read or lack a column; with file and line.
        InputError: The database cannot be opened.
    """
    settings = _read_settings(path)
    folder = path.parent
    scorer = _scorer(settings, folder)
    rows: list[TaskRow] = []
    for row in read_rows(folder / settings.data):
        rows.append(_task_row(row, len(rows) + 1, settings))
        if isinstance(scorer, SqlExecution) and (problem := scorer.reference_problem(str(rows[-1].reference))):
            raise DataError(f"{row.source}: the reference in '{settings.reference}' cannot be executed: {problem}.")
    examples: list[Message] = []
    if settings.examples is not None:
        for row in read_rows(folder / settings.examples):
            examples += _example(row, settings)
    return FileTask(settings, scorer, rows, examples)


def _read_settings(path: Path) -> TaskFile:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError([f"The task file {path} cannot be read: {error.strerror}."], where=str(path)) from error
    except UnicodeDecodeError as error:
        raise RecipeError([f"{path} is not UTF-8 text (byte {error.start})."], where=str(path)) from error
    source = read_yaml(text)
    problems = [f"{path}:{line}: {words}" for line, words in source.problems]
    if not isinstance(source.data, dict):
        problems = problems or [f"{path}:1: a task file is a mapping of keys. It needs: {', '.join(_required())}."]
        raise RecipeError(problems, where=str(path))
    try:
        settings = TaskFile.model_validate(source.data)
    except ValidationError as error:
        for problem in explain(error, TaskFile, source.data):
            message = problem.message.replace("the recipe:", "the task:", 1)
            problems.append(f"{path}:{_line(source, problem.path)}: {message}")
        raise RecipeError(problems, where=str(path)) from error
    if problems:
        raise RecipeError(problems, where=str(path))
    return settings


def _required() -> list[str]:
    return [name for name, field in TaskFile.model_fields.items() if field.is_required()]


def _line(source: SourceText, path: tuple[str | int, ...]) -> int:
    return next((source.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in source.lines), 1)


def _task_row(row: Row, number: int, settings: TaskFile) -> TaskRow:
    return TaskRow(
        id=f"{settings.name}-{number}",
        messages=_prompt(row, settings),
        reference=_reference(row, settings),
        slices={column: str(_cell(row, column)) for column in settings.slices},
    )


def _example(row: Row, settings: TaskFile) -> list[Message]:
    question = [m for m in _prompt(row, settings) if m.role != "system"]
    answer = _reference(row, settings)
    return [*question, Message("assistant", answer if isinstance(answer, str) else answer[0])]


def _cell(row: Row, column: str) -> Any:
    if row.value.get(column) is None:
        found = ", ".join(row.value) or "none"
        raise DataError(f"{row.source}: the task needs the column '{column}'; columns with a value here: {found}.")
    return row.value[column]


def _prompt(row: Row, settings: TaskFile) -> tuple[Message, ...]:
    value = _cell(row, settings.prompt)
    if isinstance(value, str):
        messages: tuple[Message, ...] = (Message("user", value),)
    elif isinstance(value, Sequence):
        try:
            messages = messages_from_openai(value, settings.prompt)
        except BadRowError as error:
            raise DataError(f"{row.source}: {error}") from error
    else:
        raise DataError(f"{row.source}: '{settings.prompt}' must be text or a list of messages, not {value!r}.")
    if not messages or messages[-1].role not in ("user", "tool"):
        raise DataError(
            f"{row.source}: '{settings.prompt}' must end with the user's message; the answer is not part of it."
        )
    if settings.system_prompt is not None:
        messages = (Message("system", settings.system_prompt), *(m for m in messages if m.role != "system"))
    return messages


def _reference(row: Row, settings: TaskFile) -> str | list[str]:
    value = _cell(row, settings.reference)
    if isinstance(value, list):
        if not value or settings.scorer != "exact_match":
            raise DataError(f"{row.source}: '{settings.reference}' is {value!r}; it must be one text.")
        return [_plain(v) for v in value]
    return _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _scorer(settings: TaskFile, folder: Path) -> Scorer:
    if settings.database is None:
        return ExactMatch()
    database = folder / settings.database
    open_database: Callable[[], sqlite3.Connection] = partial(_open_read_only, database)
    try:
        open_database().close()
    except sqlite3.Error as error:
        raise InputError(f"The task's database {database} cannot be opened as a SQLite file: {error}.") from error
    return SqlExecution(open_database)


def _open_read_only(database: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    connection.execute("SELECT count(*) FROM sqlite_master")  # a file that is no database is only noticed when read
    return connection
