from __future__ import annotations

import pytest

from luthier.evaluation.protocol import Judged
from luthier.evaluation.scorers.classification import Classification, macro_f1
from tests.unit.evaluation.scorers.rows import row

SCORER = Classification(["spam", "not spam", "card_arrival", "card"])


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("spam", "spam"),
        ("Not spam.", "not spam"),
        ("I think it is not spam", "not spam"),
        ("Card arrival", "card_arrival"),
        ("card-arrival", "card_arrival"),
        ("the label is card_arrival, card_arrival!", "card_arrival"),
        ("cardinal", None),
        ("spam or card", None),
        ("", None),
    ],
)
def test_labels_in_answers(answer: str, label: str | None) -> None:
    assert SCORER.label_of(answer) == label


def test_scores_and_references() -> None:
    assert SCORER.score(row("spam"), "Spam").value == 1.0
    assert SCORER.score(row("spam"), "not spam").value == 0.0
    assert SCORER.reference_problem("spam") == ""
    assert "none of the 4 labels" in SCORER.reference_problem("ham")


def test_macro_f1_by_hand() -> None:
    # a: 2 of 3 found, 3 named → F1 = 4/6; b: 1 of 2 found, 1 named → 2/3; c: never right, named once → 0.
    pairs = [("a", "a"), ("a", "a"), ("a", None), ("b", "b"), ("b", "a"), ("b", "c")]
    # b has three rows: 1 hit, named 1 → 2·1/(1+3) = 0.5; a: named 3 (two right), there 3 → 4/6.
    assert macro_f1(pairs) == pytest.approx((4 / 6 + 0.5 + 0.0) / 3)


def test_macro_f1_equals_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    right, said = ["a", "b", "c", "a", "b", "c", "a"], ["a", "c", "c", "b", "b", "a", "a"]
    assert macro_f1(list(zip(right, said, strict=True))) == pytest.approx(
        metrics.f1_score(right, said, average="macro")
    )


def test_summary_has_the_confusion_matrix() -> None:
    scorer = Classification(["a", "b"])
    rows = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "who knows")]
    judged = [Judged(row(right), scorer.score(row(right), answer)) for right, answer in rows]
    assert scorer.summarise(judged) == {
        "macro_f1": pytest.approx((2 / 3 + 0.5) / 2),  # a: 2·1/(1+2); b: 2·1/(2+2)
        "share_without_label": 0.25,
        "confusion": {"a": {"a": 1, "b": 1}, "b": {"(no label)": 1, "b": 1}},
    }
