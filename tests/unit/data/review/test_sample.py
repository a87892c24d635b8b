"""Which rows are looked at."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from luthier.data.any_rows import read_again, recognise_files
from luthier.data.lint.catalogue import choose_rules
from luthier.data.review.sample import NO_FINDING, RowSurvey, Sample
from luthier.reporter import Silent


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **more}


def sample_of(path: Path, rows: list[dict[str, Any]], most: int) -> Sample:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = recognise_files([path], "auto", {}, Silent())
    survey = RowSurvey(choose_rules().rules)
    for file in files:
        for read in read_again(file, Silent(), "look"):
            survey.see(file, read.row, read.item)
    return survey.sample(most)


def words(number: int, many: int = 12) -> str:
    generator = random.Random(number)
    return " ".join("".join(generator.choices("abcdefghijklmnop", k=6)) for _ in range(many)).capitalize() + "."


def plain(num: int, first: int = 0) -> list[dict[str, Any]]:
    return [chat(words(2 * i + 1, 8), words(2 * i)) for i in range(first, first + num)]


def test_half_of_the_sample_are_rows_with_findings_shared_among_the_rules(tmp_path):
    rows = plain(400)
    for i in range(0, 60, 2):
        rows[i] = chat(words(9000 + i), f"<p>{words(i)}</p><br> &nbsp;")
    for i in range(1, 7, 2):
        rows[i] = chat(words(9000 + i), "")
    sample = sample_of(tmp_path / "in.jsonl", rows, 40)
    drawn = Counter(row.stratum for row in sample.rows)
    assert len(sample.rows) == 40
    assert drawn["empty_answer"] == sample.strata["empty_answer"] == 3  # all there are
    assert drawn["html_remnants"] + drawn["empty_answer"] <= 20
    assert drawn["html_remnants"] >= 10
    assert drawn[NO_FINDING] >= 20
    assert sum(sample.strata.values()) == 400  # every row is in one stratum
    assert all(row.rules for row in sample.rows if row.stratum != NO_FINDING)


def test_the_same_rows_are_drawn_again_and_in_another_order_of_the_file(tmp_path):
    rows = plain(200)
    first = sample_of(tmp_path / "a.jsonl", rows, 30)
    assert sample_of(tmp_path / "b.jsonl", rows, 30) == first
    shuffled = rows[::-1]
    digests = {row.digest for row in first.rows}
    assert {row.digest for row in sample_of(tmp_path / "c.jsonl", shuffled, 30).rows} == digests


def test_origins_turns_and_lengths_are_all_there(tmp_path):
    rows = [chat(words(2 * i + 1, 8), words(2 * i, 5 + (i % 7) * 30), source=f"site{i % 4}") for i in range(280)]
    for row in rows[::3]:
        row["messages"] += [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "Nothing else."}]
    sample = sample_of(tmp_path / "in.jsonl", rows, 40)
    drawn = [rows[row.number - 1] for row in sample.rows if row.stratum == NO_FINDING]
    assert len(drawn) >= 20
    origins = Counter(row["source"] for row in drawn)
    assert len(origins) == 4
    assert max(origins.values()) - min(origins.values()) <= 2  # 70 rows of each
    assert {len(row["messages"]) for row in drawn} == {2, 4}
    lengths = [len(row["messages"][1]["content"]) for row in drawn]
    assert min(lengths) < 300 < 1000 < max(lengths)


def test_a_small_file_is_looked_at_as_a_whole(tmp_path):
    sample = sample_of(tmp_path / "in.jsonl", [*plain(4), chat("leer?", "")], 80)
    assert sorted(row.number for row in sample.rows) == [1, 2, 3, 4, 5]


def test_rows_that_do_not_fit_and_rows_found_by_comparison_are_in_it(tmp_path):
    rows = [
        *plain(60),
        chat("What is 2 + 2 in words?", "Four."),
        chat("What is 2 + 2 in words?", "Five."),
        {"messages": 3},
    ]
    sample = sample_of(tmp_path / "in.jsonl", rows, 20)
    rules = {row.number: row.rules for row in sample.rows}
    assert rules[63] == ("row_does_not_fit",)
    assert any("conflicting_answers" in rules.get(number, ()) for number in (61, 62))
