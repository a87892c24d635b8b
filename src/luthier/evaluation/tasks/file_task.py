"""A task of the user's own: a short YAML file beside the data.

name: tickets
data: tickets.jsonl            # jsonl, json, csv or parquet; relative paths start at this file's folder
prompt: question               # column with the question (or messages), or a text with columns in braces: "Q: {question}"
reference: answer              # column with the right answer; some scorers take several: {choices: options, answer: gold}
scorer: exact_match            # or with options: {kind: numeric, tolerance: 0.01}; all of them: scorers/registry.py
system_prompt: Answer briefly. # optional, as all that follows
examples: 4                    # worked examples for the base model: the first rows, or a file with the same columns
slices: [kind]                 # columns by whose values the result is broken down
max_new_tokens: 64

All that can be said stands in `settings.py`, with what it means.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from luthier.data.hash_sample import HashSample
from luthier.data.messages import BadRowError, messages_from_openai
from luthier.data.row import Row
from luthier.data.sources import read_rows
from luthier.errors import DataError
from luthier.evaluation.protocol import Generation, LikelihoodScorer, Scorer, TaskRow
from luthier.evaluation.scorers.classification import Classification
from luthier.evaluation.scorers.registry import build_scorer
from luthier.evaluation.tasks.layouts import LAYOUTS
from luthier.evaluation.tasks.settings import TaskFile, in_full, read_task_file
from luthier.evaluation.tasks.template import TemplateError, fill, is_template, shown
from luthier.types import Message


class FileTask:
    """Questions from a data file. Make it with `load_task_file` or `load_layout`."""

    def __init__(
        self,
        settings: TaskFile,
        scorer: Scorer | LikelihoodScorer,
        rows: Sequence[TaskRow],
        examples: Sequence[Message] = (),
    ) -> None:
        self.name = settings.name
        self.scorer = scorer
        self.generation = Generation(
            settings.max_new_tokens,
            samples=settings.samples,
            temperature=settings.drawn_at,
            top_p=settings.top_p,
            pass_at=settings.pass_at,
            seed=settings.seed,
        )
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
        DataError: The data cannot be read, lack a column or hold a reference that cannot be used; with file and line.
        InputError: A file that the scorer needs cannot be opened.
        MissingExtraError: The scorer needs a package that is not installed.
    """
    return _load(read_task_file(path), path.parent)


def load_layout(layout: str, data: Path) -> FileTask:
    """A known data set from a file, as its layout says.

    Raises:
        DataError, InputError, MissingExtraError: As `load_task_file`.
    """
    return _load(TaskFile.model_validate(in_full({"layout": layout, "name": layout, "data": str(data)})), Path())


def _load(settings: TaskFile, folder: Path) -> FileTask:
    read = LAYOUTS[settings.layout].read if settings.layout else read_rows
    rows = list(read(folder / settings.data))
    shown_rows: list[Row] = []
    if isinstance(settings.examples, int):
        shown_rows, rows = rows[: settings.examples], rows[settings.examples :]
        if not rows:
            raise DataError(
                f"{folder / settings.data} has {len(shown_rows)} rows and examples takes {settings.examples} of them, so "
                "none is left to be asked."
            )
    elif settings.examples is not None:
        shown_rows = list(read(folder / settings.examples))
    # All references, of rows left out by `limit` too: labels are those of the whole file.
    references = [_reference(row, settings) for row in rows]
    scorer = build_scorer(settings.scorer, folder, references)
    extra = {"labels": ", ".join(scorer.labels)} if isinstance(scorer, Classification) else {}
    task_rows: list[TaskRow] = []
    for number, (row, reference) in enumerate(zip(rows, references, strict=True), start=1):
        if problem := scorer.reference_problem(reference):
            raise DataError(f"{row.source}: the reference in {_named(settings.reference)} cannot be used: {problem}.")
        task_rows.append(_task_row(row, number, reference, settings, extra))
    examples = [message for row in shown_rows for message in _example(row, settings, extra)]
    return FileTask(settings, scorer, _sample(task_rows, settings.limit), examples)


def _sample(rows: Sequence[TaskRow], limit: int | None) -> Sequence[TaskRow]:
    if limit is None or limit >= len(rows):
        return rows
    sample = HashSample[int](limit)
    seen: Counter[str] = Counter()
    for index, row in enumerate(rows):
        text = f"{row.question}\0{row.reference!r}"
        seen[text] += 1  # equal rows are rows of their own
        sample.add(int.from_bytes(hashlib.blake2b(f"{text}\0{seen[text]}".encode(), digest_size=8).digest()), index)
    return [rows[index] for index in sorted(sample.values())]


def _task_row(row: Row, number: int, reference: Any, settings: TaskFile, extra: Mapping[str, Any]) -> TaskRow:
    follow_ups = _cell(row, settings.follow_ups) if settings.follow_ups else ()
    if isinstance(follow_ups, str) or not all(isinstance(question, str) for question in follow_ups):
        raise DataError(f"{row.source}: '{settings.follow_ups}' must be a list of questions, not {follow_ups!r}.")
    return TaskRow(
        id=f"{settings.name}-{number}",
        messages=_prompt(row, settings, extra),
        reference=reference,
        slices={column: str(_cell(row, column)) for column in settings.slices},
        follow_ups=tuple(follow_ups),
    )


def _example(row: Row, settings: TaskFile, extra: Mapping[str, Any]) -> list[Message]:
    question = [m for m in _prompt(row, settings, extra) if m.role != "system"]
    if settings.answer is not None:
        answer = _filled(settings.answer, row, extra) if is_template(settings.answer) else _cell(row, settings.answer)
    else:
        answer = _reference(row, settings)
        if isinstance(answer, Mapping):
            raise DataError(
                f"{row.source}: worked examples need one answer to show, but the reference is made of several columns. Name "
                "the column that is shown: answer: COLUMN."
            )
        answer = answer[0] if isinstance(answer, list) else answer
    return [*question, Message("assistant", shown(answer))]


def _cell(row: Row, column: str) -> Any:
    if row.value.get(column) is None:
        found = ", ".join(row.value) or "none"
        raise DataError(f"{row.source}: the task needs the column '{column}'; columns with a value here: {found}.")
    return row.value[column]


def _filled(text: str, row: Row, extra: Mapping[str, Any]) -> str:
    try:
        return fill(text, {**extra, **{name: value for name, value in row.value.items() if value is not None}})
    except TemplateError as fault:
        raise DataError(f"{row.source}: the task {fault}.") from fault


def _prompt(row: Row, settings: TaskFile, extra: Mapping[str, Any]) -> tuple[Message, ...]:
    messages = _asked(row, settings, extra)
    if settings.system_prompt is not None:
        system = Message("system", _filled(settings.system_prompt, row, extra))
        messages = (system, *(m for m in messages if m.role != "system"))
    return messages


def _asked(row: Row, settings: TaskFile, extra: Mapping[str, Any]) -> tuple[Message, ...]:
    if settings.prompt is None:
        return ()
    if is_template(settings.prompt):
        return (Message("user", _filled(settings.prompt, row, extra)),)
    value = _cell(row, settings.prompt)
    if isinstance(value, str):
        return (Message("user", value),)
    if not isinstance(value, Sequence):
        raise DataError(f"{row.source}: '{settings.prompt}' must be text or a list of messages, not {value!r}.")
    try:
        messages = messages_from_openai(value, settings.prompt)
    except BadRowError as error:
        raise DataError(f"{row.source}: {error}") from error
    if not messages or messages[-1].role not in ("user", "tool"):
        raise DataError(
            f"{row.source}: '{settings.prompt}' must end with the user's message; the answer is not part of it."
        )
    return messages


def _reference(row: Row, settings: TaskFile) -> Any:
    """A column's value, a mapping of several, or None where the task names none.

    Scorers that compare text get text: a number in the data is the text it is written as.
    """
    if settings.reference is None:
        return None
    if isinstance(settings.reference, dict):
        return {name: row.value.get(column) for name, column in settings.reference.items()}
    value = _cell(row, settings.reference)
    if settings.scorer.kind in ("json_schema", "instructions"):
        return _parsed(value)
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return _plain(value)


def _parsed(value: Any) -> Any:
    """Tables keep objects as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _named(reference: Any) -> str:
    if isinstance(reference, dict):
        return ", ".join(f"'{column}'" for column in reference.values())
    return f"'{reference}'"
