from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from luthier.demo.database import build_database
from luthier.demo.filters import FILTERS
from luthier.demo.questions import Question, combinations, heldout_questions, training_questions
from luthier.demo.shapes import SHAPES
from luthier.demo.shop import heldout_rows, training_rows


@pytest.fixture(scope="module")
def training() -> list[Question]:
    return training_questions()


@pytest.fixture(scope="module")
def heldout() -> list[Question]:
    return heldout_questions()


def test_sizes_and_families(training: list[Question], heldout: list[Question]) -> None:
    assert len(training) == 512
    assert len(heldout) == 120
    kinds = {"list", "count", "aggregate", "group", "order", "join"}
    for questions in (training, heldout):
        counts = Counter(q.kind for q in questions)
        assert counts.keys() == kinds
        assert min(counts.values()) >= len(questions) // 15
        assert {q.slices["tables"] for q in questions} == {"1", "2", "3"}
        assert {q.slices["conditions"] for q in questions} == {"1", "2"}


def test_no_question_is_asked_twice_or_on_both_sides(training: list[Question], heldout: list[Question]) -> None:
    texts = [" ".join(q.text.lower().split()) for q in training + heldout]
    assert len(set(texts)) == len(texts)
    queries = {q.sql for q in training}
    assert not [q for q in heldout if q.sql in queries]


def test_heldout_combinations_are_unseen_but_their_parts_are_not(
    training: list[Question], heldout: list[Question]
) -> None:
    assert not {q.combination for q in training} & {q.combination for q in heldout}
    shapes = {q.combination.split(" | ")[0] for q in training}
    conditions = {name for q in training for name in q.combination.split(" | ")[1].split(" + ")}
    for question in heldout:
        shape, names = question.combination.split(" | ")
        assert shape in shapes
        assert set(names.split(" + ")) <= conditions


def test_heldout_values_are_unseen(training: list[Question], heldout: list[Question]) -> None:
    seen = {value for q in training for value in q.values}
    for question in heldout:
        assert question.values, question
        assert not seen & set(question.values), question


def test_every_value_stands_in_question_and_query(training: list[Question], heldout: list[Question]) -> None:
    for question in training + heldout:
        for name, said in question.values:
            assert re.search(rf"\b{re.escape(said)}\b", question.text), question
            if name not in ("order month", "order between"):
                assert re.search(rf"\b{re.escape(said)}\b", question.sql), question


def test_every_query_runs_and_each_condition_matters(training: list[Question], heldout: list[Question]) -> None:
    """An independent look at the SQL text: conditions are taken out with a pattern, not with the generator."""
    connection = build_database()
    for question in training + heldout:
        result = connection.execute(question.sql).fetchall()
        assert result, question
        assert result not in ([(None,)], [(0,)]), question
        assert (None,) not in result
        where = re.search(r" WHERE (.+?)(?= GROUP BY| ORDER BY|$)", question.sql)
        assert where is not None, question
        without = question.sql.replace(where.group(0), "")
        assert connection.execute(without).fetchall() != result, question


def test_limits_leave_something_out(training: list[Question], heldout: list[Question]) -> None:
    connection = build_database()
    limited = [q for q in training + heldout if " LIMIT " in q.sql]
    assert len(limited) > 50
    for question in limited:
        query, limit = question.sql.split(" LIMIT ")
        assert len(connection.execute(query).fetchall()) > int(limit), question


def test_phrasings_vary(training: list[Question]) -> None:
    """Each shape is said in several ways (those that have only one excepted)."""
    for shape in SHAPES:
        asked = [q.text for q in training if q.combination.startswith(f"{shape.name} | ")]
        openings = {" ".join(text.split()[:2]) for text in asked}
        expected = {" ".join(phrase.split()[:2]) for phrase in shape.phrases}
        assert len(openings) >= min(2, len(expected)), shape.name


def test_texts_are_clean(training: list[Question], heldout: list[Question]) -> None:
    for question in training + heldout:
        assert re.fullmatch(r"[A-Z][^{}]*[.?]", question.text), question
        assert "  " not in question.text
        assert " ." not in question.text
        assert "{" not in question.sql


def test_filters_own_disjoint_values() -> None:
    for condition in FILTERS.values():
        train, heldout = ({v.said for v in condition.values(side)} for side in ("train", "heldout"))
        assert len(train) >= len(heldout) >= 2
        assert not train & heldout


def test_heldout_months_are_trained_with_the_other_year() -> None:
    month = FILTERS["order month"]
    trained = {v.said.split()[0] for v in month.train}
    assert {v.said.split()[0] for v in month.heldout} <= trained


def test_names_of_combinations_are_unique() -> None:
    names = [c.name for side in ("train", "heldout") for made in combinations(side).values() for c in made]
    assert len(set(names)) == len(names)


def test_a_smaller_count_is_the_beginning_of_a_larger_one(training: list[Question], heldout: list[Question]) -> None:
    assert training_questions(100) == training[:100]
    assert heldout_questions(30) == heldout[:30]


def test_rows_have_the_messages_layout(training: list[Question], heldout: list[Question]) -> None:
    for rows, questions in ((training_rows(20), training), (heldout_rows(20), heldout)):
        for row, question in zip(rows, questions, strict=False):
            assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant"]
            assert row["messages"][1]["content"] == question.text
            assert row["messages"][2]["content"] == question.sql


def test_the_same_rows_whatever_the_hash_seed() -> None:
    program = "import json; from luthier.demo.shop import *; print(json.dumps([training_rows(), heldout_rows()]))"
    digests = set()
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        text = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True).stdout
        digests.add(hashlib.sha256(text).hexdigest())
    assert len(digests) == 1
