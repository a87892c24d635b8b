"""Right if the answer is JSON that fits a schema. Needs the package jsonschema (extra [eval]).

The JSON of an answer is the whole of it, else the content of a code fence, else the first object or list that stands in it
complete. How it was found is told, and `bare` is the share of answers that are nothing but JSON: a program that reads them
needs that.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from luthier.errors import InputError, MissingExtraError
from luthier.evaluation.protocol import Score, Scorer, TaskRow

MOST_BEGINNINGS = 100
"""Brackets at which JSON is looked for: each may be followed to the end of the answer, and some answers are all brackets."""

_FENCE = re.compile(r"```[a-zA-Z0-9]*[ \t]*\n?(.*?)```", re.DOTALL)


class FoundJson(NamedTuple):
    """A JSON value in a text, and whether the text is nothing else."""

    value: Any
    is_bare: bool


class JsonSchema(Scorer):
    """Validates answers.

    Args:
        schema: For all rows; None: each row's reference is its schema.

    Raises:
        MissingExtraError: jsonschema is not installed.
        InputError: `schema` is none.
    """

    name = "json_schema"
    metric = "valid"
    figures = ("json", "bare")

    def __init__(self, schema: Any = None) -> None:
        try:
            import jsonschema
            from jsonschema.validators import validator_for
        except ImportError as error:
            raise MissingExtraError("jsonschema", "eval", "The scorer json_schema") from error
        self._schema_error, self._validator_for = jsonschema.SchemaError, validator_for
        self._schema = schema
        if schema is not None and (problem := self._schema_problem(schema)):
            raise InputError(f"The scorer's schema cannot be used: {problem}.")

    def reference_problem(self, reference: Any) -> str:
        """Without a schema for all rows it must be one."""
        return "" if self._schema is not None else self._schema_problem(_as_schema(reference))

    def _schema_problem(self, schema: Any) -> str:
        if not isinstance(schema, dict):
            return f"a JSON schema is an object, not {schema!r}"
        try:
            self._validator_for(schema).check_schema(schema)
        except self._schema_error as error:
            return f"{error.message} (at {error.json_path})"
        return ""

    def score(self, row: TaskRow, answer: str) -> Score:
        """1 where the JSON fits."""
        found = find_json(answer)
        if found is None:
            why = "there is no complete JSON in the answer" if answer.strip() else "the answer is empty"
            return Score(0.0, why, measures={"json": 0.0, "bare": 0.0})
        measures = {"json": 1.0, "bare": float(found.is_bare)}
        schema = self._schema if self._schema is not None else _as_schema(row.reference)
        text = json.dumps(found.value, ensure_ascii=False)
        errors = sorted(self._validator_for(schema)(schema).iter_errors(found.value), key=str)
        if not errors:
            return Score(1.0, "fits the schema", text, measures)
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        return Score(0.0, f"{errors[0].json_path}: {errors[0].message}{more}", text, measures)


def _as_schema(reference: Any) -> Any:
    if not isinstance(reference, str):
        return reference
    try:
        return json.loads(reference)
    except ValueError:
        return reference


def find_json(text: str) -> FoundJson | None:
    """The JSON in a text; None where there is none."""
    try:
        return FoundJson(json.loads(text, parse_constant=_refuse), True)
    except (ValueError, RecursionError):
        pass
    for value in _inside(text):
        return FoundJson(value, False)
    return None


def _inside(text: str) -> Iterator[Any]:
    for content in _FENCE.findall(text):
        try:
            yield json.loads(content, parse_constant=_refuse)
        except (ValueError, RecursionError):
            continue
    decoder = json.JSONDecoder(parse_constant=_refuse)
    for match in itertools.islice(re.finditer(r"[{\[]", text), MOST_BEGINNINGS):
        try:
            yield decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
