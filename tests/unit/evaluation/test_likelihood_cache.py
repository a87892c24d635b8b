"""Probabilities are measured once, and found again by the weights and the tokens alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.evaluation.likelihood import Continuation
from luthier.evaluation.likelihood_cache import CachedLikelihoods, LikelihoodCache, likelihood_key
from luthier.evaluation.protocol import Likelihood

TEXTS = [Continuation((1, 2), (3,), "a", 1), Continuation((1, 2), (4, 5), "bc", 2), Continuation((1,), (3,), "a", 1)]


class Measured:
    """Measures −(sum of tokens), less 100 without the adapter; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Continuation] = []

    def measure(
        self,
        continuations: Sequence[Continuation],
        *,
        use_adapter: bool = True,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Likelihood]:
        self.asked += continuations
        if on_progress is not None:
            on_progress(len(continuations))
        less = 0 if use_adapter else 100
        return [Likelihood(c.text, -sum(c.context_ids + c.ids) - less, len(c.ids), c.num_bytes) for c in continuations]


def _cached(
    path: Path, inner: Measured, *, fresh: bool = False, weights: str = "w"
) -> tuple[CachedLikelihoods, LikelihoodCache]:
    cache = LikelihoodCache(path, fresh=fresh)
    return CachedLikelihoods(inner, cache, lambda use_adapter: f"{weights}{use_adapter}"), cache


def test_found_numbers_are_the_measured_ones(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "l.jsonl"
    first = _cached(path, Measured())[0].measure(TEXTS)
    assert first == Measured().measure(TEXTS)
    inner = Measured()
    likelihoods, cache = _cached(path, inner)
    seen: list[int] = []
    new = Continuation((9,), (9,), "n", 1)
    assert likelihoods.measure([*TEXTS[::-1], new], on_progress=seen.append)[:3] == first[::-1]
    assert inner.asked == [new]
    assert (cache.hits, cache.misses, sum(seen)) == (3, 1, 4)
    assert likelihoods.measure(TEXTS[:1], use_adapter=False)[0].logprob == first[0].logprob - 100
    other = Measured()
    _cached(path, other, weights="trained on")[0].measure(TEXTS)
    assert other.asked == TEXTS


def test_equal_texts_are_measured_once_and_fresh_measures_all(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    inner = Measured()
    assert len(_cached(path, inner)[0].measure([TEXTS[0]] * 3)) == 3
    assert len(inner.asked) == 1
    again = Measured()
    _cached(path, again, fresh=True)[0].measure(TEXTS)
    assert again.asked == TEXTS
    assert likelihood_key(TEXTS[0], "w") != likelihood_key(TEXTS[2], "w") != likelihood_key(TEXTS[2], "v")


def test_a_cut_line_is_left_out_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    _cached(path, Measured())[0].measure(TEXTS)
    whole = path.read_text()
    path.write_text(whole[:-5])
    inner = Measured()
    _cached(path, inner)[0].measure(TEXTS)
    assert inner.asked == TEXTS[2:]
    assert LikelihoodCache(path).find(likelihood_key(TEXTS[2], "wTrue")) == -4
    path.write_text("nonsense\n")
    with pytest.raises(RunError, match=r"l\.jsonl:1 is damaged .*--fresh"):
        LikelihoodCache(path)
