from __future__ import annotations

import builtins
from typing import Any

import pytest

from luthier.errors import InputError, MissingExtraError
from luthier.evaluation.scorers.json_schema import JsonSchema, find_json
from tests.unit.evaluation.scorers.rows import row

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("text", "value", "bare"),
    [
        ('{"age": 3}', {"age": 3}, True),
        (' [1, 2]\n', [1, 2], True),
        ('Here:\n```json\n{"age": 3}\n```\nDone.', {"age": 3}, False),
        ('It is {"a": {"b": 1}}, see?', {"a": {"b": 1}}, False),
        ('{broken} {"age": 3}', {"age": 3}, False),
    ],
)  # fmt: skip
def test_json_in_answers(text: str, value: Any, bare: bool) -> None:
    assert find_json(text) == (value, bare)


@pytest.mark.parametrize("text", ["", "no json", '{"age": 3', "{'age': 3}", '{"age": NaN}', "[" * 100_000])
def test_no_json(text: str) -> None:
    assert find_json(text) is None


def test_scores() -> None:
    scorer = JsonSchema(SCHEMA)
    good = scorer.score(row(), '{"age": 3}')
    assert (good.value, good.measures) == (1.0, {"json": 1.0, "bare": 1.0})
    wrong = scorer.score(row(), 'Sure: {"age": "three"}')
    assert (wrong.value, wrong.measures) == (0.0, {"json": 1.0, "bare": 0.0})
    assert wrong.why == "$.age: 'three' is not of type 'integer'"
    assert scorer.score(row(), "{}").why == "$: 'age' is a required property"
    assert scorer.score(row(), "none").measures == {"json": 0.0, "bare": 0.0}


def test_schema_of_the_row() -> None:
    scorer = JsonSchema()
    assert scorer.score(row({"type": "array"}), "[1]").value == 1.0
    assert scorer.score(row('{"type": "array"}'), "{}").value == 0.0
    assert scorer.reference_problem({"type": "array"}) == ""
    assert "is not valid under any" in scorer.reference_problem({"type": "arry"})
    assert "is an object" in scorer.reference_problem("nonsense")


def test_broken_schema_and_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="schema cannot be used"):
        JsonSchema({"type": "arry"})
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith("jsonschema"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingExtraError, match=r"json_schema needs the package 'jsonschema'.*pip install 'luthier\[eval\]'"
    ):
        JsonSchema(SCHEMA)
