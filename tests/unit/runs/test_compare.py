"""What differs between recipes and between data."""

from __future__ import annotations

from luthier.runs.compare import data_differences, differing_leaves, leaves
from luthier.runs.curves import thinned
from tests.unit.pages.run_folder import DATA


def test_leaves() -> None:
    assert leaves({"a": {"b": 1, "c": {"d": [2]}}, "e": {}}) == {"a.b": 1, "a.c.d": [2], "e": {}}


def test_only_what_differs_and_not_the_name() -> None:
    first = {
        "run": {"name": "a"},
        "train": {"epochs": 1, "learning_rate": 1e-3},
        "adapter": {"kind": "lora", "rank": 8},
    }
    second = {"run": {"name": "b"}, "train": {"epochs": 1, "learning_rate": 1e-4}, "adapter": {"kind": "none"}}
    assert differing_leaves([first, second]) == [
        ("train.learning_rate", (1e-3, 1e-4)),
        ("adapter.kind", ("lora", "none")),
        ("adapter.rank", (8, None)),
    ]
    assert differing_leaves([first, first, first]) == []


def test_data_differ_by_fingerprint_files_and_counts() -> None:
    other = DATA | {"fingerprint": "ff" * 32, "train": DATA["train"] | {"num_rows": 7}}
    rows = {row.name: row.values for row in data_differences([DATA, other])}
    assert rows == {"fingerprint": ("cd" * 6, "ff" * 6), "train rows": (DATA["train"]["num_rows"], 7)}
    assert data_differences([DATA, DATA]) == []
    assert {row.values[1] for row in data_differences([DATA, None])} == {None}


def test_thinned_is_means_over_equal_stretches() -> None:
    assert thinned([1, 3, 5, 7, 100, 200], 3) == [2, 6, 150]
    assert thinned([1.0, 2.0], 3) == [1.0, 2.0]


def test_an_empty_mapping_is_no_value_beside_its_leaves() -> None:
    columns = [{"data": {"columns": {}}}, {"data": {"columns": {"prompt": "text"}}}, {"data": {}}]
    assert differing_leaves(columns) == [("data.columns.prompt", (None, "text", None))]
    assert differing_leaves([columns[0], columns[2]]) == []
