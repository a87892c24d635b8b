from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.evaluation.answer_cache import AnswerCache, CachedEngine, request_key
from luthier.generate.protocol import Request
from tests.unit.evaluation.fakes import FakeEngine, encode

REQUESTS = [Request(tuple(encode(f"q{i}")), 5, frozenset([0])) for i in range(3)]


def _engine() -> FakeEngine:
    return FakeEngine(lambda prompt, use_adapter: f"{prompt}!{use_adapter}")


def _cached(
    path: Path, engine: FakeEngine, *, fresh: bool = False, weights: str = "w"
) -> tuple[CachedEngine, AnswerCache]:
    cache = AnswerCache(path, fresh=fresh)
    return CachedEngine(engine, cache, lambda use_adapter: f"{weights}{use_adapter}"), cache


def test_found_answers_are_the_generated_ones(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "answers.jsonl"
    engine, cache = _cached(path, _engine())
    first = engine.generate(REQUESTS)
    assert first == _engine().generate(REQUESTS)
    assert (cache.hits, cache.misses) == (0, 3)
    asked = _engine()
    engine, cache = _cached(path, asked)
    progress: list[int] = []
    assert (
        engine.generate([*REQUESTS[::-1], Request(tuple(encode("new")), 5, frozenset([0]))], progress.append)[:3]
        == first[::-1]
    )
    assert (cache.hits, cache.misses) == (3, 1)
    assert [bytes(r.prompt_ids) for r in asked.requests] == [b"new"]
    assert sum(progress) == 4


def test_everything_that_decides_an_answer_is_in_the_key() -> None:
    request = REQUESTS[0]
    others = [
        replace(request, prompt_ids=(1, 2)), replace(request, max_new_tokens=6), replace(request, stop_ids=frozenset([0, 1])),
        replace(request, temperature=1.0), replace(request, top_p=0.5), replace(request, seed=1),
    ]  # fmt: skip
    keys = {request_key(each, "w") for each in [request, *others]} | {request_key(request, "other weights")}
    assert len(keys) == 8
    assert request_key(request, "w") == request_key(replace(request), "w")


def test_base_and_tuned_do_not_share_answers(tmp_path: Path) -> None:
    engine, cache = _cached(tmp_path / "a.jsonl", _engine())
    tuned, base = engine.generate([REQUESTS[0], replace(REQUESTS[0], use_adapter=False)])
    assert tuned != base
    assert cache.misses == 2


def test_equal_requests_are_answered_once(tmp_path: Path) -> None:
    asked = _engine()
    engine, cache = _cached(tmp_path / "a.jsonl", asked)
    answers = engine.generate([REQUESTS[0]] * 3)
    assert answers[0] == answers[1] == answers[2]
    assert len(asked.requests) == cache.misses == 1


def test_fresh_finds_nothing_and_keeps_what_it_generates(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _cached(path, _engine())[0].generate(REQUESTS)
    other = FakeEngine(lambda *_: "new")
    engine, cache = _cached(path, other, fresh=True)
    fresh = engine.generate(REQUESTS)
    assert (cache.hits, cache.misses) == (0, 3)
    assert _cached(path, _engine())[0].generate(REQUESTS) == fresh


def test_a_line_cut_off_by_a_crash_is_left_out_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _cached(path, _engine())[0].generate(REQUESTS)
    whole = path.read_text()
    path.write_text(whole[:-10])
    engine, cache = _cached(path, _engine())
    assert engine.generate(REQUESTS) == _engine().generate(REQUESTS)
    assert (cache.hits, cache.misses) == (2, 1)
    assert _cached(path, _engine())[1].find(request_key(REQUESTS[2], "wTrue"))
    path.write_text("nonsense\n" + whole)
    with pytest.raises(RunError, match=r"a\.jsonl:1 is damaged .*--fresh"):
        AnswerCache(path)
