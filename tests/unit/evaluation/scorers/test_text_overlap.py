"""ROUGE, BLEU and chrF by hand."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import pytest

from luthier.errors import MissingExtraError
from luthier.evaluation.protocol import Judged
from luthier.evaluation.scorers.bleu import Bleu, Chrf
from luthier.evaluation.scorers.rouge import Rouge
from tests.unit.evaluation.scorers.rows import row


def test_rouge_by_hand() -> None:
    pytest.importorskip("rouge_score")
    # Unigrams: 3 of 4 in 3 answered → P 1, R 3/4. Bigrams: "the cat" of 3, 2 answered → 1/2, 1/3. LCS "the cat mat" = 3.
    score = Rouge().score(row("the cat sat mat"), "the cat mat")
    assert score.value == pytest.approx(2 * 1 * 0.75 / 1.75)
    assert score.measures == pytest.approx(
        {"rouge1": 2 * 0.75 / 1.75, "rouge2": 2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3)}
    )
    assert Rouge().score(row(["nothing alike", "the cat"]), "The cat!").value == 1.0
    assert Rouge().score(row("the cat"), "").value == 0.0
    assert Rouge(stem=True).score(row("cats"), "cat").value == 1.0


def test_bleu_by_hand() -> None:
    pytest.importorskip("sacrebleu")
    # 5 answered of 6: 1-grams 5/5, 2-grams 3/4, 3-grams 1/3; 4-grams 0 of 2, smoothed (exp) to 1/(2·2); brevity exp(1 − 6/5).
    expected = math.exp(1 - 6 / 5) * (1 * 3 / 4 * 1 / 3 * 1 / 4) ** 0.25
    assert Bleu().score(row("the cat sat on the mat"), "the cat on the mat").value == pytest.approx(expected, rel=1e-6)
    assert Bleu().score(row("a b"), "a b").value == pytest.approx(
        1.0
    )  # effective order: no 4-grams are asked of two words
    assert Bleu().score(row("a b c d"), "").value == 0.0


def test_corpus_bleu_pools_the_counts() -> None:
    pytest.importorskip("sacrebleu")
    scorer = Bleu()
    pairs = [("a b c d e", "a b c d e"), ("f g h i j", "f g h i x")]
    judged = [Judged(row(reference), scorer.score(row(reference), answer)) for reference, answer in pairs]
    # 1-grams 9/10, 2-grams 7/8, 3-grams 5/6, 4-grams 3/4; lengths equal.
    expected = 100 * (9 / 10 * 7 / 8 * 5 / 6 * 3 / 4) ** 0.25
    assert scorer.summarise(judged) == {"corpus_bleu": pytest.approx(expected)}
    mixed = [Judged(row(["x y", "a b c d"]), scorer.score(row(["x y", "a b c d"]), "a b c d")), judged[0]]
    assert scorer.summarise(mixed) == {"corpus_bleu": pytest.approx(100.0)}


def test_chrf_by_hand() -> None:
    pytest.importorskip("sacrebleu")
    # "ab" in "abc": 1-grams 2/2 and 2/3, 2-grams 1/1 and 1/2; longer n-grams do not occur in the answer.
    # F2 of each order averaged over the orders that both have: precision mean 1, recall mean (2/3 + 1/2)/2 = 7/12.
    precision, recall = 1.0, 7 / 12
    expected = 5 * precision * recall / (4 * precision + recall)
    assert Chrf().score(row("abc"), "ab").value == pytest.approx(expected, rel=1e-6)
    assert Chrf().score(row("same text"), "same text").value == pytest.approx(1.0)


@pytest.mark.parametrize(("make", "package"), [(Rouge, "rouge-score"), (Bleu, "sacrebleu"), (Chrf, "sacrebleu")])
def test_missing_packages_are_named(make: Callable[[], Any], package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name.startswith(("rouge_score", "sacrebleu")):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install 'luthier\[eval\]'"):
        make()
