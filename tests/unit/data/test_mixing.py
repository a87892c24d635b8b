"""How many rows each source gives, by hand."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.data.mixing import MixSource, apportion, chosen_rows, order_of_sources, plan_mix, read_source
from luthier.errors import InputError


def shares(*weights: float) -> list[MixSource]:
    return [MixSource(f"{i}.jsonl", weight=weight) for i, weight in enumerate(weights)]


def numbers(*counts: int | None) -> list[MixSource]:
    return [MixSource(f"{i}.jsonl", num_rows=count) for i, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jsonl:0.7", ("a.jsonl", 0.7, None)),
        ("a.jsonl:500", ("a.jsonl", None, 500)),
        ("a.jsonl:1e-3", ("a.jsonl", 0.001, None)),
        ("a.jsonl", ("a.jsonl", None, None)),
        ("demo:shop-sql", ("demo:shop-sql", None, None)),
        ("demo:shop-sql:0.2", ("demo:shop-sql", 0.2, None)),
        ("C:/data/a.jsonl", ("C:/data/a.jsonl", None, None)),
        ("a:b/*.jsonl:2.0", ("a:b/*.jsonl", 2.0, None)),
    ],
)
def test_sources_are_read(text, expected):
    assert tuple(read_source(text)) == expected


@pytest.mark.parametrize("text", ["a.jsonl:0", "a.jsonl:0.0", "a.jsonl:-0.5", "a.jsonl:1e999", "a.jsonl:0..5"])
def test_senseless_amounts(text):
    with pytest.raises(InputError):
        read_source(text)


@pytest.mark.parametrize(
    ("sources", "available", "num_rows", "when", "counts", "exhausted"),
    [
        # 20 rows are 30 %: the mix ends at 20 / 0.3 = 66 rows, 46.2 and 19.8 of them
        (shares(0.7, 0.3), (100, 20), None, "stop", (46, 20), (1,)),
        (shares(7.0, 3.0), (100, 20), None, "stop", (46, 20), (1,)),
        (shares(0.7, 0.3), (700, 300), None, "stop", (700, 300), (0, 1)),
        (shares(0.7, 0.3), (100, 20), 50, "stop", (35, 15), ()),
        (shares(0.7, 0.3), (100, 20), 200, "stop", (46, 20), (1,)),
        (shares(0.7, 0.3), (100, 20), 200, "repeat", (140, 60), (0, 1)),
        # 100 rows are 70 %: used up at 143 rows, 100.1 and 42.9 of them
        (shares(0.7, 0.3), (100, 20), None, "repeat", (100, 43), (1,)),
        (shares(1.0, 1.0, 1.0), (9, 9, 9), 8, "stop", (3, 3, 2), ()),
        (numbers(5, None), (100, 20), None, "stop", (5, 20), ()),
        (numbers(5, 30), (100, 20), None, "stop", (5, 20), (1,)),
        (numbers(5, 30), (100, 20), None, "repeat", (5, 30), (1,)),
    ],
)
def test_plans(sources, available, num_rows, when, counts, exhausted):
    assert tuple(plan_mix(sources, available, num_rows, when)) == (counts, exhausted)


@pytest.mark.parametrize(
    ("sources", "num_rows", "expected"),
    [
        ([*shares(0.5), *numbers(5)], None, "has no share, others do"),
        (numbers(1, 2), 3, "--rows is for shares"),
        (shares(1.0, 2.0), 0, "at least one row"),
    ],
)
def test_refusals(sources, num_rows, expected):
    with pytest.raises(InputError, match=expected):
        plan_mix(sources, [10, 10], num_rows, "stop")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.integers(0, 300))
def test_whole_numbers_are_nearest_to_the_shares(weights, total):
    exact = [Fraction(weight, sum(weights)) * total for weight in weights]
    counts = apportion([weight / sum(weights) for weight in weights], total)
    assert sum(counts) == total
    assert all(abs(count - value) < 1 for count, value in zip(counts, exact, strict=True))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.data())
def test_without_repeating_no_source_gives_more_than_it_has(weights, data):
    available = data.draw(st.lists(st.integers(1, 60), min_size=len(weights), max_size=len(weights)))
    plan = plan_mix(shares(*map(float, weights)), available, None, "stop")
    assert all(count <= n for count, n in zip(plan.counts, available, strict=True))
    more = sum(plan.counts) + len(weights) + 1  # room for the rounding
    shared = [weight / sum(weights) * more for weight in weights]
    assert any(value > n for value, n in zip(shared, available, strict=True))


def test_samples_are_of_the_asked_size_and_depend_on_seed_and_source():
    passes, marked = chosen_rows(10, 24, seed=0, source=1)
    assert (passes, sum(marked), len(marked)) == (2, 4, 10)
    assert chosen_rows(10, 24, 0, 1) == (passes, marked)
    others = {bytes(chosen_rows(100, 50, seed, source)[1]) for seed in range(3) for source in range(3)}
    assert len(others) == 9
    assert chosen_rows(10, 10, 0, 0) == (1, bytearray(10))


def test_sources_alternate():
    order = order_of_sources((600, 400), seed=0)
    assert Counter(order) == {0: 600, 1: 400}
    assert 40 < sum(order[:200]) < 120  # 80 expected, standard deviation 6
    assert order == order_of_sources((600, 400), seed=0) != order_of_sources((600, 400), seed=1)
