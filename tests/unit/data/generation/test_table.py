"""Rows of a table put into a template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from luthier.data.generation.table import Template
from luthier.errors import DataError, InputError
from luthier.workflows.data_generate_table import data_generate_table

TABLE = "country,capital,people\nFrance,Paris,68\nSpain,,48\nPeru,Lima,34\nFrance,Paris,68\n"


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_with_where_they_come_from(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    template = [
        {
            "messages": [
                {"role": "user", "content": "Capital of {country}?"},
                {"role": "assistant", "content": "{ capital }"},
            ]
        },
        {"question": "{{people}} of {country}?", "answer": "{people} million", "kind": 2},
    ]
    (tmp_path / "template.json").write_text(json.dumps(template))
    result = data_generate_table([tmp_path / "t.csv"], tmp_path / "out.jsonl", str(tmp_path / "template.json"))
    first, second, third, _ = read(tmp_path / "out.jsonl")
    assert first["messages"][0]["content"] == "Capital of France?"
    assert first["messages"][1]["content"] == "Paris"
    assert first["generated"] == {"from": "table", "source": f"{tmp_path}/t.csv:2", "template": 1}
    assert second == {
        "question": "{people} of France?",
        "answer": "68 million",
        "kind": 2,
        "generated": {"from": "table", "source": f"{tmp_path}/t.csv:2", "template": 2},
    }
    assert third["messages"][1]["content"] == "Lima"
    assert (result.num_read, result.num_written) == (4, 4)
    assert [(e["source"].rsplit(":")[-1], e["rule"], e["reason"]) for e in read(tmp_path / "out.dropped.jsonl")] == [
        ("3", "column_empty", "capital: nothing there"),
        ("5", "says_it_again", f"equals what {tmp_path}/t.csv:2 gave"),
        ("5", "says_it_again", f"equals what {tmp_path}/t.csv:2 gave"),
    ]
    again = data_generate_table([tmp_path / "t.csv"], tmp_path / "b.jsonl", str(tmp_path / "template.json"), limit=1)
    assert again.num_written == 2
    assert (tmp_path / "b.jsonl").read_text() == "".join(
        line + "\n" for line in (tmp_path / "out.jsonl").read_text().splitlines()[:2]
    )


def test_values_that_are_no_text_and_values_that_look_like_templates():
    template = Template('{"text": "{a}, {b}, {c}, {d}"}')
    made = template.fill({"a": 3, "b": True, "c": ["é", 1], "d": "{a} {{x}}"})
    assert made == [{"text": '3, true, ["é", 1], {a} {{x}}'}]
    assert template.empty_columns({"a": 0, "b": False, "c": None, "d": " "}) == ["c", "d"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{", "no JSON"),
        ("[]", "an object with the columns"),
        ('["x"]', "an object with the columns"),
        ('{"q": "no column"}', "names no column"),
        ('{"q": "{a} and {"}', "a single '{'"),
        ('{"q": "{a}", "generated": "x"}', "'generated' is written by luthier"),
        ("nowhere.json", "cannot be read: No such file"),
    ],
)
def test_what_is_no_template(template, expected):
    with pytest.raises(InputError, match=expected):
        Template(template)


def test_a_column_that_is_not_there_and_a_table_that_gives_nothing(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    with pytest.raises(InputError, match=r"no column 'captal'. Did you mean \{capital\}\?"):
        data_generate_table([tmp_path / "t.csv"], tmp_path / "o.jsonl", '{"text": "{captal}"}')
    (tmp_path / "t.csv").write_text("a,b\n1,\n")
    with pytest.raises(DataError, match=r"t.csv:2: b: nothing there"):
        data_generate_table([tmp_path / "t.csv"], tmp_path / "o.jsonl", '{"text": "{b}"}')
    assert not list(tmp_path.glob("o.*"))
